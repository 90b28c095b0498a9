//go:build unix

// Package child runs a server as a child process that ends with this process,
// however this process ends: return, panic, kill -9.
//
// It promises that the child is told to stop, not that it has stopped by the
// time this process is gone: a child told by a gentle signal still finishes its
// own shutdown. It says nothing about the child's own children.
package child

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Process is a running child. Its methods may be used from any goroutine.
type Process struct {
	cmd  *exec.Cmd
	log  serverLog
	done chan struct{}
	err  error
}

// Start starts cmd in a process group of its own, so that Ctrl-C in a terminal
// reaches this process alone and the child is stopped when we say so. When this
// process ends without having stopped it, the child gets the signal farewell.
// What it prints is appended to the file at logPath.
func Start(cmd *exec.Cmd, farewell syscall.Signal, logPath string) (*Process, error) {
	log, output, err := openLog(logPath)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	defer output.Close() // the child has its own by then
	cmd.Stdout, cmd.Stderr = output, output
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setpgid = true
	p := &Process{cmd: cmd, log: log, done: make(chan struct{})}
	started := make(chan error)
	go p.run(farewell, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

func (p *Process) run(farewell syscall.Signal, started chan<- error) {
	// Linux ties the child to the thread that forked it, so that thread has to
	// live as long as the child: this goroutine keeps it until the child is gone.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	untie, err := startTied(p.cmd, farewell)
	started <- err
	if err != nil {
		return
	}
	p.err = p.cmd.Wait()
	untie()
	close(p.done)
}

// Run runs a program to its end, which comes at once, by kill -9, when ctx or
// this process ends. The error quotes the last lines of what the program printed.
func Run(ctx context.Context, cmd *exec.Cmd, logPath string) error {
	p, err := Start(cmd, syscall.SIGKILL, logPath)
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Stop(0)
		return fmt.Errorf("run %s: %w", cmd.Path, ctx.Err())
	}
	if err := p.Err(); err != nil {
		return fmt.Errorf("run %s: %w; %s", cmd.Path, err, p.LogTail())
	}
	return nil
}

// PID is the child's process id. It may belong to someone else once Done is closed.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the child ended: nil for exit status 0. It is meaningful once Done is closed.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// LogTail is the last lines the child printed, for an error.
func (p *Process) LogTail() string { return p.log.tail() }

// Stop sends the signals in order, waits for the child to end at most patience
// after each, and kills it if it outlives them all. It returns when the child
// has ended; calling it again, or for a child that has ended, does nothing.
func (p *Process) Stop(patience time.Duration, signals ...syscall.Signal) {
	for _, s := range append(signals, syscall.SIGKILL) {
		// The only error is that the child has ended, and then Done is closed soon.
		_ = p.cmd.Process.Signal(s)
		select {
		case <-p.done:
			return
		case <-time.After(patience):
		}
	}
	<-p.done
}
