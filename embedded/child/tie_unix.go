//go:build unix && !linux

package child

import (
	"os/exec"
	"syscall"
)

// startTied sets a watchdog beside the child, since the kernel offers nothing.
func startTied(cmd *exec.Cmd, farewell syscall.Signal) (untie func(), err error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	untie, err = watch(cmd.Process.Pid, farewell)
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, err
	}
	return untie, nil
}
