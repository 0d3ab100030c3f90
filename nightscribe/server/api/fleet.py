"""Show what the workers do, what waits and what failed, and try it again."""

from fastapi import APIRouter

from nightscribe.server.auth import Reader, require_everything
from nightscribe.server.context import Serving
from nightscribe.services.status import Status, gather

router = APIRouter(prefix="/fleet", tags=["fleet"])


@router.get("")
def fleet(principal: Reader, context: Serving) -> Status:
    """Return the status of the destination: the last run, the queue, the workers and the failures."""
    require_everything(principal)
    return gather(context.dest, context.settings)
