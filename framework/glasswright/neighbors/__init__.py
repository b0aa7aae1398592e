from .pair_list import PairList as PairList, build_pair_list as build_pair_list, find_pairs as find_pairs
