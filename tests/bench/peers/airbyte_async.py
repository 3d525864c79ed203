"""The same job by the Airbyte CDK: its async retriever creates, polls and downloads, one partition per job.

It knows no baseline; the status it must ask for stands in that request's place. The records it emits are written,
hashed and flushed as the lines that they are.

    python airbyte_async.py URL TENANTS EXPORTS FOLDER
"""

import hashlib
import json
import os
import sys
from typing import Any

from airbyte_cdk.entrypoint import launch  # type: ignore[import-not-found] # installed for the benchmark only
from airbyte_cdk.sources.declarative.concurrent_declarative_source import (  # type: ignore[import-not-found]
    ConcurrentDeclarativeSource,
)

STATE = "{{ creation_response['data']['id'] }}"


def manifest(url: str, jobs: list[str]) -> dict[str, Any]:
    """A source of one stream whose partitions are the jobs."""

    def requester(path: str, method: str, **more: Any) -> dict[str, Any]:
        return {
            "type": "HttpRequester",
            "url_base": url,
            "path": path,
            "http_method": method,
            "request_headers": {"Authorization": "lucca application=0", "Accept-Encoding": "identity"},
            **more,
        }

    retriever = {
        "type": "AsyncRetriever",
        "record_selector": {
            "type": "RecordSelector",
            "extractor": {"type": "DpathExtractor", "field_path": ["data", "entries"]},
        },
        "status_mapping": {
            "type": "AsyncJobStatusMap",
            "running": ["pending"],
            "completed": ["done"],
            "failed": ["error"],
            "timeout": ["timeout"],
        },
        "status_extractor": {"type": "DpathExtractor", "field_path": ["data", "status"]},
        "download_target_extractor": {"type": "DpathExtractor", "field_path": ["data", "id"]},
        "download_extractor": {"type": "DpathExtractor", "field_path": ["data", "entries"]},
        "creation_requester": requester(
            "/api/v3/timmiexports/run?fields=id",
            "POST",
            request_body_json={
                "endsAt": "2026-11-23T00:00:00",
                "configurationId": "{{ stream_slice['job'].split('/')[1] | int }}",
            },
        ),
        "polling_requester": requester(f"/api/v3/timmiexports/{STATE}?fields=status", "GET"),
        "download_requester": requester(
            "/api/v3/timmiexports/{{ download_target }}?fields=id,name,entries", "GET"
        ),
        "partition_router": {"type": "ListPartitionRouter", "values": jobs, "cursor_field": "job"},
    }
    stream = {
        "type": "DeclarativeStream",
        "name": "exports",
        "primary_key": [],
        "retriever": retriever,
        "schema_loader": {"type": "InlineSchemaLoader", "schema": {"type": "object", "properties": {}}},
    }
    return {
        "version": "6.0.0",
        "type": "DeclarativeSource",
        "check": {"type": "CheckStream", "stream_names": ["exports"]},
        "streams": [stream],
        "spec": {"type": "Spec", "connection_specification": {"type": "object", "properties": {}}},
        "concurrency_level": {"type": "ConcurrencyLevel", "default_concurrency": 16},
        "max_concurrent_async_job_count": 64,
    }


def main(url: str, tenants: int, exports: int, folder: str) -> None:
    """All jobs."""
    jobs = [f"{tenant}/{export + 1}" for export in range(exports) for tenant in range(tenants)]
    catalog = {
        "streams": [
            {
                "stream": {
                    "name": "exports",
                    "json_schema": {},
                    "supported_sync_modes": ["full_refresh"],
                },
                "sync_mode": "full_refresh",
                "destination_sync_mode": "overwrite",
            }
        ]
    }
    for name, content in (("config", {}), ("catalog", catalog)):
        with open(f"{folder}/{name}.json", "w", encoding="utf-8") as file:
            json.dump(content, file)
    source = ConcurrentDeclarativeSource(
        catalog=None, config={}, state=None, source_config=manifest(url, jobs)
    )
    # It prints past `sys.stdout`, so the descriptor itself is turned to a file.
    records = os.open(f"{folder}/records.jsonl", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.dup2(records, 1)
    launch(source, ["read", "--config", f"{folder}/config.json", "--catalog", f"{folder}/catalog.json"])
    sys.stdout.flush()
    os.fsync(records)
    with open(f"{folder}/records.jsonl", "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    sys.stderr.write(f"{digest}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
