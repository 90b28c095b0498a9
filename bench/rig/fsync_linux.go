package rig

import (
	"os"
	"syscall"
)

// syncData is what Postgres uses on Linux by default: the file's times may be lost.
func syncData(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
