"""Which components there are, which plugin each comes from, and what parameters each has."""

from .component import KINDS as KINDS
from .component import Component as Component
from .component import PluginError as PluginError
from .registry import PluginRecord as PluginRecord
from .registry import Registry as Registry
from .registry import registry as registry
