"""The registry: components by kind and name, the plugins they come from, and their parameters."""

from .component import KINDS as KINDS
from .component import Component as Component
from .component import Kind as Kind
from .component import PluginError as PluginError
from .registry import PluginRecord as PluginRecord
from .registry import Registry as Registry
from .registry import registry as registry
