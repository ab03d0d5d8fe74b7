"""How fast an artifact is, in which engine: latency, throughput, cold start, memory and energy on this machine."""
