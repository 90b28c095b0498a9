//go:build !linux

package rig

import "os"

func syncData(f *os.File) error { return f.Sync() }
