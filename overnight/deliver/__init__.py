"""The delivering desk: the only way out, and the way back where there is one."""

from overnight.deliver.opening import describe_sink, name_sink
from overnight.deliver.publish import deliver_release
from overnight.deliver.recall import recall_release
from overnight.deliver.settling import settle_unknown

__all__ = ["deliver_release", "describe_sink", "name_sink", "recall_release", "settle_unknown"]
