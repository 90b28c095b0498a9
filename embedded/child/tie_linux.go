package child

import (
	"os/exec"
	"syscall"
)

// startTied lets the kernel deliver farewell when the forking thread dies.
func startTied(cmd *exec.Cmd, farewell syscall.Signal) (untie func(), err error) {
	cmd.SysProcAttr.Pdeathsig = farewell
	return func() {}, cmd.Start()
}
