"""The message that confirms an order."""

import asyncio

from onward import JobContext, Retry, handler
from sqlalchemy.orm import joinedload

from bookshop import mail
from bookshop.database import Session
from bookshop.models import Order


@handler("orders.confirm", retry=Retry(max_attempts=8))
async def confirm(job: JobContext, *, order_id: int) -> None:
    async with Session() as db:
        order = await db.get_one(Order, order_id, options=[joinedload(Order.user), joinedload(Order.book)])
    text = f"{order.quantity} x {order.book.title} by {order.book.author} will be with you soon."
    await asyncio.to_thread(mail.send, order.user.email, f"Your order {order.id}", text, key=job.idempotency_key)
