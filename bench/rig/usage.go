package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// What Postgres' processes are called in a Usage.
const (
	PostgresBackends     = "postgres backends"
	PostgresAutovacuum   = "postgres autovacuum"
	PostgresWALWriter    = "postgres walwriter"
	PostgresCheckpointer = "postgres checkpointer"
	// PostgresOther is the postmaster, and children that lived and died between two looks.
	PostgresOther = "postgres other"

	// Bench is the bench's own process: the load, and what a scenario runs in it.
	Bench = "bench"
	// Broker is the broker's process.
	Broker = "broker"
)

// sampleEvery is how often a Meter looks at Postgres' children: an autovacuum worker that ends takes
// with it what it cost since the last look, and often lives for less than a second.
const sampleEvery = 100 * time.Millisecond

// Usage is the CPU time that processes took, user and system, by name.
type Usage map[string]time.Duration

// Postgres is the sum over all of Postgres' processes.
func (u Usage) Postgres() (sum time.Duration) {
	for name, t := range u {
		if strings.HasPrefix(name, "postgres ") {
			sum += t
		}
	}
	return sum
}

// Meter measures what the processes of a round cost from Measure until Stop.
type Meter struct {
	round  *Round
	cancel context.CancelFunc
	done   sync.WaitGroup

	begin, end map[process]cost
	err        error
}

// process is one process, also after its id was given to another one.
type process struct {
	pid     int
	started string
}

type cost struct {
	name          string
	cpu, children time.Duration
}

// Measure starts measuring the bench, the round's processes, the broker and Postgres. Processes
// that start later are counted from their start.
func (o *Round) Measure() (*Meter, error) {
	ctx, cancel := context.WithCancel(context.Background())
	m := &Meter{round: o, cancel: cancel, begin: map[process]cost{}, end: map[process]cost{}}
	if err := m.look(m.begin); err != nil {
		cancel()
		return nil, err
	}
	m.done.Go(func() {
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				m.err = errors.Join(m.err, m.look(m.end))
			}
		}
	})
	return m, nil
}

// look writes down what each process has cost so far. Those that have ended keep what they had.
func (m *Meter) look(into map[process]cost) error {
	note := func(s stat, name string) {
		into[process{s.pid, s.started}] = cost{name, s.cpu, s.children}
	}
	own := map[int]string{os.Getpid(): Bench}
	m.round.mu.Lock()
	processes := slices.Clone(m.round.processes)
	m.round.mu.Unlock()
	for _, p := range processes {
		own[p.PID()] = p.Name
	}
	if r := m.round.rig.real; r != nil {
		own[r.PID()] = Broker
	}
	for pid, name := range own {
		if s, err := readStat(pid); err == nil { // one that ended is somebody else's to miss
			note(s, name)
		}
	}
	postmaster, err := m.round.rig.postmaster()
	if err != nil {
		return err
	}
	s, err := readStat(postmaster)
	if err != nil {
		return fmt.Errorf("what processes cost is read from /proc, on Linux alone: %w", err)
	}
	note(s, PostgresOther)
	children, err := childrenOf(postmaster)
	for _, s := range children {
		note(s, postgresRole(s.pid))
	}
	return err
}

// Stop ends measuring and tells what everything took.
func (m *Meter) Stop() (Usage, error) {
	m.cancel()
	m.done.Wait()
	u := Usage{}
	if err := errors.Join(m.err, m.look(m.end)); err != nil {
		return u, err
	}
	postmaster, err := m.round.rig.postmaster()
	if err != nil {
		return u, err
	}
	var buried, seen time.Duration // what ended children cost, all in all, and as far as it was seen
	for p, end := range m.end {
		begin := m.begin[p]
		u[end.name] += end.cpu - begin.cpu
		if p.pid == postmaster {
			buried = end.children - begin.children
		}
	}
	for p, end := range m.end {
		if _, err := readStat(p.pid); err != nil && strings.HasPrefix(end.name, "postgres ") {
			seen += end.cpu
		}
	}
	u[PostgresOther] += max(0, buried-seen)
	return u, nil
}

// Memory is what a process occupies, in MiB.
type Memory struct {
	RSS  float64 // resident now, shared pages included
	Peak float64 // the most that was resident at once
}

// MemoryOf reads what a process occupies.
func MemoryOf(pid int) (m Memory, err error) {
	var errs [2]error
	m.RSS, errs[0] = memoryField(pid, "status", "VmRSS")
	m.Peak, errs[1] = memoryField(pid, "status", "VmHWM")
	if err := errors.Join(errs[:]...); err != nil {
		return m, fmt.Errorf("what processes occupy is read from /proc, on Linux alone: %w", err)
	}
	return m, nil
}

// PostgresMemory is what Postgres' processes occupy together, in MiB; pages that they share are counted once.
func PostgresMemory(postmaster int) (mib float64, err error) {
	children, err := childrenOf(postmaster)
	if err != nil {
		return 0, err
	}
	for _, s := range append(children, stat{pid: postmaster}) {
		// One that has ended occupies nothing.
		if share, err := memoryField(s.pid, "smaps_rollup", "Pss"); err == nil {
			mib += share
		}
	}
	if mib == 0 {
		return 0, fmt.Errorf("what Postgres (process %d) occupies cannot be read from /proc", postmaster)
	}
	return mib, nil
}

// BrokerMemory is what the round's broker occupies.
func (o *Round) BrokerMemory() (Memory, error) {
	if r := o.rig.real; r != nil {
		return MemoryOf(r.PID())
	}
	for _, p := range o.processes {
		if p.Name == Broker {
			return MemoryOf(p.PID())
		}
	}
	return Memory{}, errors.New("the round has no broker")
}

// PostgresMemory is what the run's Postgres occupies, in MiB.
func (o *Round) PostgresMemory() (float64, error) {
	pid, err := o.rig.postmaster()
	if err != nil {
		return 0, err
	}
	return PostgresMemory(pid)
}
