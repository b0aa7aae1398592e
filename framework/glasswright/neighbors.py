"""Pair lists, for protocols and properties that make their own."""

from .physics.pair_list import PairList as PairList
from .physics.pair_list import build_pair_list as build_pair_list
from .physics.pair_list import find_pairs as find_pairs
