from .pair_list import PairList as PairList
from .pair_list import build_pair_list as build_pair_list
from .pair_list import find_pairs as find_pairs
