import pytest

from alpaca_lora.errors import RecordError
from alpaca_lora.records import read_dataset


@pytest.fixture
def write(tmp_path):
    """Write a file, and return its path."""

    def to(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return to


@pytest.fixture
def read(write):
    """Write a file, and read it as records."""

    def back(name, content, **options):
        return read_dataset(write(name, content), **options)

    return back


@pytest.fixture
def faults(read):
    """Write a file that cannot be read, and return its faults."""

    def of(name, content, **options):
        with pytest.raises(RecordError) as caught:
            read(name, content, **options)
        return list(caught.value.faults)

    return of
