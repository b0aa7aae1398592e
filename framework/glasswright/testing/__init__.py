"""Checks that every component has to pass, for whoever writes one: as functions, and as tests for pytest.

A whole test file of a package that registers components:

    from glasswright.testing import conformance_tests

    test_conformance = conformance_tests("my-package")
"""

from ._combination import check_combination as check_combination
from ._executor import check_executor as check_executor
from ._failures import ConformanceError as ConformanceError
from ._objective import check_objective as check_objective
from ._optimizer import check_optimizer as check_optimizer
from ._potential import check_potential as check_potential
from ._property import check_property as check_property
from ._protocol import check_protocol as check_protocol
from ._sampler import check_sampler as check_sampler
from ._study import check_study as check_study
from ._suite import Case as Case
from ._suite import check_import as check_import
from ._suite import conformance_cases as conformance_cases
from ._suite import conformance_tests as conformance_tests
from ._system import check_system as check_system
from ._tracker import check_tracker as check_tracker
from ._tracker import follow as follow
from ._treatment import check_treatment as check_treatment
