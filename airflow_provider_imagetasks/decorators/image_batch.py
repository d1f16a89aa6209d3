"""``@task.image_batch``: the function returns prompts or requests, and they are made as a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import (
    DecoratedOperator,
    TaskDecorator,
    context_merge,
    determine_kwargs,
    task_decorator_factory,
)

from airflow_provider_imagetasks.batch.requests_file import RequestsSource, rows_of
from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class _ImageBatchDecoratedOperator(DecoratedOperator, ImageBatchOperator):
    """A batch whose rows a function returns: a prompt, or a sequence of prompts or of requests.

    The function runs at the first start only; what it returned is frozen then.
    """

    template_fields: Sequence[str] = (*DecoratedOperator.template_fields, *ImageBatchOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        **ImageBatchOperator.template_fields_renderers,
    }
    custom_operator_name: str = "@task.image_batch"

    def __init__(self, **kwargs: Any) -> None:
        for name in ("prompts", "requests", "requests_path"):
            if kwargs.pop(name, None):
                raise ValueError(f"{name} cannot be given to @task.image_batch; return the rows from the function")
        kwargs["multiple_outputs"] = False
        super().__init__(prompts=(), **kwargs)

    def execute(self, context: Context) -> Any:
        """Begin or go on, and return what the batch came to, or defer."""
        return ImageBatchOperator.execute(self, context)

    def rows_source(self, context: Context) -> RequestsSource:
        """Return what the function returns; it is called when that is first looked at."""

        def returned() -> Iterator[Any]:
            context_merge(context, self.op_kwargs)
            kwargs = determine_kwargs(self.python_callable, self.op_args, context)
            yield from rows_of(self.python_callable(*self.op_args, **kwargs)).rows()

        return RequestsSource(returned(), None)


def image_batch_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """Turn a function that returns prompts or requests into a batch.

    :param python_callable: the function.
    :param kwargs: arguments of ``ImageBatchOperator``, without the rows.
    """
    return task_decorator_factory(
        python_callable=python_callable, decorated_operator_class=_ImageBatchDecoratedOperator, **kwargs
    )
