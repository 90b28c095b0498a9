package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// How much memory the garbage collector may let pile up before it works. At Go's
// own pace, twice of what is in use, it takes a fifth of a busy router's CPU; memory that nobody
// misses buys half of that back.
const (
	// memoryTarget is what heap and stacks together may grow to before a collection. With the
	// program itself and what the collector keeps in hand, the process stays below 300 MB.
	memoryTarget = 208 << 20
	// idleUse is more than a process uses that has little to do; a busy one uses 30 to 70 MB. Below
	// it the pace is Go's own: there is little to gain, and an idle router stays at some 45 MB.
	idleUse = 25 << 20
	// maxGCPercent is where more memory hardly saves work any more.
	maxGCPercent = 300
	// minGCPercent is Go's own default: a process that needs more than the target, for large
	// events, say, gets it, and is collected no more often than any Go program.
	minGCPercent = 100
)

// tuneGC sets the collector's pace anew after each collection, from what it found in use. A fixed
// percentage would be small for the idle process or large for the busy one; a fixed memory limit
// lets the collector take half of the CPU once the limit is really needed. Whoever sets GOGC or
// GOMEMLIMIT gets what Go makes of it.
func tuneGC() {
	if !gcIsSet() {
		followGC()
	}
}

func gcIsSet() bool { return os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" }

// followGC sets the pace, and does so again after the next collection.
func followGC() {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(samples)
	debug.SetGCPercent(gcPercent(samples[0].Value.Uint64(), samples[1].Value.Uint64()))
	// Unreachable at once, so the next collection finds it. From 16 bytes on, a value has an
	// allocation of its own; smaller ones live as long as their neighbours.
	runtime.AddCleanup(new([16]byte), func(struct{}) { followGC() }, struct{}{})
}

// gcPercent is the percentage with which heap and stacks meet memoryTarget, within its limits.
func gcPercent(heap, stacks uint64) int {
	used := heap + stacks
	if used < idleUse || used >= memoryTarget {
		return minGCPercent
	}
	return min(max(minGCPercent, int((memoryTarget-used)*100/used)), maxGCPercent)
}
