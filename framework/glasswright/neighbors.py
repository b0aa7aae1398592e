"""Pair lists, for protocols and properties that make their own, and the types of their entries."""

from .physics.pair_list import PairIndex as PairIndex
from .physics.pair_list import PairList as PairList
from .physics.pair_list import PairMask as PairMask
from .physics.pair_list import build_pair_list as build_pair_list
from .physics.pair_list import find_pairs as find_pairs
from .physics.pair_list import round_capacity as round_capacity
