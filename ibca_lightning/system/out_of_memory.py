"""Whether an error says that a device, or this machine, had no memory left; told by names: nothing is imported."""

_TEXTS = ("out of memory", "DefaultCPUAllocator: ", "CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Look at an error and at what it was raised from.

    Args:
        error: Of torch, numpy or Python.

    Returns:
        Whether one of them says so.
    """
    cause: BaseException | None = error
    while cause is not None:
        memory = isinstance(cause, RuntimeError) and any(text in str(cause) for text in _TEXTS)
        if memory or isinstance(cause, MemoryError) or type(cause).__name__ == "OutOfMemoryError":
            return True
        cause = cause.__cause__ or cause.__context__
    return False
