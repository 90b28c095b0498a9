package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Machine is where and on what a run was measured. What cannot be found out is empty.
type Machine struct {
	CPU        string  `json:"cpu"`
	Cores      int     `json:"cores"`
	MemoryGiB  float64 `json:"memoryGiB"`
	Kernel     string  `json:"kernel"`
	FileSystem string  `json:"fileSystem"` // of the servers' data
	Go         string  `json:"go"`
	Postgres   string  `json:"postgres"`
	Broker     string  `json:"broker"` // "embedded" or "real"
	Kafka      string  `json:"kafka"`  // the broker's name and version
	Load       float64 `json:"load"`   // processes that wanted to run in the minute before: a busy machine measures nothing
	Commit     string  `json:"commit"` // of the code measured; "+changes" if the work tree had any
}

// ThisMachine describes the machine, as far as this process can see by itself: the servers' versions
// are left to whoever started them. dir is where the servers keep their data.
func ThisMachine(ctx context.Context, dir string) Machine {
	return Machine{
		CPU:        procField("/proc/cpuinfo", "model name"),
		Cores:      runtime.NumCPU(),
		MemoryGiB:  memoryGiB(),
		Kernel:     kernel(),
		FileSystem: fileSystem(dir),
		Go:         runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		Load:       load(),
		Commit:     commit(ctx),
	}
}

// procField is the value of a "name : value" line of a file under /proc; empty elsewhere than on Linux.
func procField(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func memoryGiB() float64 {
	const kibPerGiB = 1 << 20
	kib, err := strconv.ParseFloat(strings.TrimSuffix(procField("/proc/meminfo", "MemTotal"), " kB"), 64)
	if err != nil {
		return 0
	}
	return kib / kibPerGiB
}

func load() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	lastMinute, _, _ := strings.Cut(string(text), " ")
	mean, err := strconv.ParseFloat(lastMinute, 64)
	if err != nil {
		return 0
	}
	return mean
}

func kernel() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(release))
}

// fileSystem is the type of the file system that dir is on: of the longest mount point above it.
func fileSystem(dir string) string {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return ""
	}
	longest, kind := "", ""
	for line := range strings.Lines(string(mounts)) {
		const point, fsType = 1, 2
		fields := strings.Fields(line)
		if len(fields) <= fsType || len(fields[point]) < len(longest) {
			continue
		}
		below := strings.TrimSuffix(fields[point], "/") + "/"
		if strings.HasPrefix(dir+"/", below) {
			longest, kind = fields[point], fields[fsType]
		}
	}
	return kind
}

// commit asks git, which is where the bench is run from: a checkout.
func commit(ctx context.Context) string {
	const enough = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, enough)
	defer cancel()
	head, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return ""
	}
	changes, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--untracked-files=no").Output()
	if err != nil || len(changes) > 0 {
		return strings.TrimSpace(string(head)) + "+changes"
	}
	return strings.TrimSpace(string(head))
}

// String is the machine in one line.
func (m Machine) String() string {
	return fmt.Sprintf("%s, %d cores, load %.1f, %.0f GiB, %s, Postgres %s, %s, commit %s", m.CPU, m.Cores, m.Load, m.MemoryGiB, m.FileSystem, m.Postgres, m.Kafka, m.Commit)
}
