//go:build faults

package fault

import "os"

// chosen is read once: a process makes one mistake, all its life.
var chosen = os.Getenv("MILLRACE_FAULT")

// On tells whether a mistake is to be made.
func On(name string) bool { return name == chosen }
