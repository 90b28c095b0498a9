//go:build unix

package embedded

import (
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	// serverLogLimit is when a start sets the old log aside as server.log.1: room
	// for weeks of what a healthy server says. A running server's log is not cut.
	serverLogLimit = 4 << 20
	// serverLogTail and serverLogLines bound what of the log goes into an error:
	// a failed start says why in its last lines.
	serverLogTail  = 4 << 10
	serverLogLines = 6
)

// serverLog is the file a server writes its log to.
type serverLog struct {
	file  *os.File
	path  string
	begin int64 // where this start's lines begin
}

func openServerLog(path string) (*serverLog, error) {
	if info, err := os.Stat(path); err == nil && info.Size() > serverLogLimit {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, fmt.Errorf("set the full server log aside: %w", err)
		}
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the server log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("open the server log: %w", err)
	}
	return &serverLog{file: file, path: path, begin: info.Size()}, nil
}

// tail is the last lines of this start, for an error.
func (l *serverLog) tail() string {
	file, err := os.Open(l.path)
	if err != nil {
		return "its log cannot be read: " + err.Error()
	}
	defer file.Close()
	from := l.begin
	if info, err := file.Stat(); err == nil {
		from = max(from, info.Size()-serverLogTail)
	}
	text, err := io.ReadAll(io.NewSectionReader(file, from, serverLogTail))
	if err != nil {
		return "its log cannot be read: " + err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	lines = lines[max(0, len(lines)-serverLogLines):]
	return fmt.Sprintf("its log %s ends with:\n  %s", l.path, strings.Join(lines, "\n  "))
}
