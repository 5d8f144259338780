"""What a job does. `HANDLERS` is the explicit table of those that come along."""

from onward.handlers.base import Handler
from handlers.email import welcome
from handlers.logging import write
from handlers.steps import process_item

HANDLERS: tuple[Handler, ...] = (welcome, write, process_item)
