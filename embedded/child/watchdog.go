//go:build unix

package child

import (
	"fmt"
	"os/exec"
	"strconv"
	"syscall"
)

// watchdogScript waits for the end of its standard input, which comes when the
// last holder of the pipe's other end is gone, and then signals the child.
const watchdogScript = `read -r _; kill -"$1" "$2"`

// watch starts a shell that signals pid when this process is gone. A process
// killed between the child's start and the watchdog's leaves the child behind:
// a window of a millisecond that only the kernel could close.
func watch(pid int, farewell syscall.Signal) (untie func(), err error) {
	dog := exec.Command("/bin/sh", "-c", watchdogScript, "watchdog", strconv.Itoa(int(farewell)), strconv.Itoa(pid))
	dog.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C must not kill the watchdog
	leash, err := dog.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("make the watchdog's pipe: %w", err)
	}
	if err := dog.Start(); err != nil {
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	return func() {
		// Killed before the pipe closes: the pid may be someone else's by now.
		_ = dog.Process.Kill()
		_ = dog.Wait()
		_ = leash.Close()
	}, nil
}
