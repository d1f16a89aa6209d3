"""Lineage of image tasks, for OpenLineage. Nothing of it is imported before OpenLineage itself asks.

A submission reads its reference pictures and makes an image task; a download reads the image task and makes files. So
files lead back to reference pictures over the image task between them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_imagetasks.observability.assets import stable_uri
from airflow_provider_imagetasks.services.fields import INLINE_PREFIX

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

MOST_DATASETS = 100
"""Image tasks or files that one event names; of more files it names their folder."""
FACET = "imageTasks"


@dataclass(frozen=True, kw_only=True)
class Made:
    """A file that a task stored, or a folder of them.

    :param uri: where it is.
    :param size: in bytes.
    :param count: how many files it is.
    """

    uri: str
    size: int
    count: int = 1


def gathered(files: Sequence[Made], folder: str) -> Sequence[Made]:
    """Return the files, or their folder in their stead where they are too many to be named."""
    if len(files) <= MOST_DATASETS:
        return files
    return [Made(uri=folder, size=sum(file.size for file in files), count=len(files))]


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """The lineage of one run of a task: what it read and made.

    :param service: name of the service.
    :param models: the models in use, each once.
    :param image_task_ids: those that other tasks read or made.
    :param submitted: whether the image tasks were made here, rather than read.
    :param references: URIs of the pictures that were edited from.
    :param files: what was stored.
    :param image_task_count: how many image tasks there were, where not all are in ``image_task_ids``.
    """

    service: str
    models: Sequence[str]
    image_task_ids: Sequence[str]
    submitted: bool = False
    references: Sequence[str] = ()
    files: Sequence[Made] = ()
    image_task_count: int | None = None

    def as_openlineage(self) -> OperatorLineage[Any, Any]:
        """Return it as OpenLineage's datasets and a run facet ``imageTasks``: ``{service, models, imageTaskCount}``."""
        from airflow.providers.common.compat.openlineage import facet
        from airflow.providers.openlineage.extractors import OperatorLineage

        image_tasks = [self._image_task(image_task_id) for image_task_id in self.image_task_ids[:MOST_DATASETS]]
        read = [_names(stable_uri(reference)) for reference in self.references]
        if not self.submitted:
            read += image_tasks
        run_facet = facet.RunFacet().with_additional_properties(
            service=self.service,
            models=list(self.models),
            imageTaskCount=self.image_task_count or len(self.image_task_ids),
        )
        made = image_tasks if self.submitted else []
        outputs = [facet.OutputDataset(namespace=namespace, name=name) for namespace, name in made]
        for file in self.files:
            namespace, name = _names(stable_uri(file.uri))
            statistics = facet.OutputStatisticsOutputDatasetFacet(size=file.size, fileCount=file.count)
            stored: dict[str, Any] = {"outputStatistics": statistics}
            outputs.append(facet.OutputDataset(namespace=namespace, name=name, outputFacets=stored))
        inputs = [facet.InputDataset(namespace=namespace, name=name) for namespace, name in read]
        return OperatorLineage(inputs=inputs, outputs=outputs, run_facets={FACET: run_facet})

    def _image_task(self, image_task_id: str) -> tuple[str, str]:
        name = image_task_id
        if name.startswith(INLINE_PREFIX):
            # Such an id is the whole record, which is no name.
            name = f"{INLINE_PREFIX}{hashlib.sha256(name.encode()).hexdigest()[:32]}"
        return f"imagetasks://{self.service}", name


def _names(uri: str) -> tuple[str, str]:
    """Return OpenLineage's namespace and name of what is at a URI, by its rules for each kind of storage."""
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme in ("file", "local"):
        return "file", rest or uri
    authority, _, name = rest.partition("/")
    return f"{scheme}://{authority}", name or "/"


class ReportsLineage:
    """A base of operators that tell OpenLineage what they did, once they have set ``lineage``."""

    lineage: Lineage | None = None

    def get_openlineage_facets_on_complete(self, _task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Return the datasets and facets of the run that has ended, None where it did not get so far."""
        return self.lineage.as_openlineage() if self.lineage else None
