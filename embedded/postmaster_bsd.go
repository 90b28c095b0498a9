//go:build unix && !linux

package embedded

import (
	"os/exec"
	"strconv"
	"strings"
)

// runsPostmaster tells whether that process is the Postgres server of the data
// directory, which its command line names.
func runsPostmaster(pid int, cluster string) bool {
	command, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.Contains(string(command), "postgres -D "+cluster)
}
