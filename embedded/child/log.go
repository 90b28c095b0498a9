//go:build unix

package child

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

const (
	// logLimit is when a start sets the old log aside, under its name with .1
	// behind: room for weeks of what a healthy server says. A running server's
	// log is not cut.
	logLimit = 4 << 20
	// logTail, in bytes, is how far back an error looks into the log, and logLines
	// how much of it it shows: a failed start says why in its last lines.
	logTail  = 32 << 10
	logLines = 6
)

// serverLog is the file a child writes its output to, kept from one start to the next.
type serverLog struct {
	path  string
	begin int64 // where this start's lines begin
}

// openLog opens the log at path for another start.
func openLog(path string) (serverLog, *os.File, error) {
	if info, err := os.Stat(path); err == nil && info.Size() > logLimit {
		if err := os.Rename(path, path+".1"); err != nil {
			return serverLog{}, nil, fmt.Errorf("set the full log aside: %w", err)
		}
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return serverLog{}, nil, fmt.Errorf("open the log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close()
		return serverLog{}, nil, fmt.Errorf("open the log: %w", err)
	}
	return serverLog{path: path, begin: info.Size()}, file, nil
}

// tail is the last lines of this start.
func (l serverLog) tail() string {
	file, err := os.Open(l.path)
	if err != nil {
		return "its log cannot be read: " + err.Error()
	}
	defer file.Close()
	from := l.begin
	if info, err := file.Stat(); err == nil {
		from = max(from, info.Size()-logTail)
	}
	text, err := io.ReadAll(io.NewSectionReader(file, from, logTail))
	if err != nil {
		return "its log cannot be read: " + err.Error()
	}
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(text)), "\n"), isStackFrame)
	lines = lines[max(0, len(lines)-logLines):]
	return fmt.Sprintf("its log %s ends with:\n  %s", l.path, strings.Join(lines, "\n  "))
}

// isStackFrame tells the lines of a Java stack trace that only Java's authors read.
func isStackFrame(line string) bool {
	line = strings.TrimSpace(line)
	return strings.HasPrefix(line, "at ") || strings.HasPrefix(line, "... ")
}
