"""The machine room: processes, signals, disk, where and with what a run is made."""
