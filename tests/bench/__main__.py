"""`make bench`: every benchmark of this folder, one after the other, on this machine."""

from tests.bench import allocator, data, heads, intervals, memory, pack, predict, startup

if __name__ == "__main__":
    heads.main([])
    data.main()
    startup.main()
    allocator.main()
    intervals.main()
    memory.main()
    predict.main()
    pack.main()
