package rig

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// MeasureCores begins to measure how busy the machine is, with whatever runs on it; what it returns
// tells the share of all cores' time since then, from 0 to 1.
func MeasureCores() (busy func() (float64, error), err error) {
	idle, all, err := coreTime()
	return func() (float64, error) {
		idleNow, allNow, err := coreTime()
		if err != nil || allNow == all {
			return 0, err
		}
		return 1 - float64(idleNow-idle)/float64(allNow-all), nil
	}, err
}

// coreTime reads the first line of /proc/stat, in ticks since the start of the machine.
func coreTime() (idle, all int64, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, fmt.Errorf("how busy the cores are is read from /proc/stat, on Linux alone: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	// cpu user nice system idle iowait irq softirq steal; guest times are in user already.
	const idleField, waitField, fields = 4, 5, 9
	words := strings.Fields(line)
	for i := 1; i < min(len(words), fields); i++ {
		n, err := strconv.ParseInt(words[i], 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("read /proc/stat: %w", err)
		}
		all += n
		if i == idleField || i == waitField {
			idle += n
		}
	}
	return idle, all, nil
}
