"""What runs in a worker process: arrivals, the plan of a load, the driver of connections."""
