package embedded

import (
	"os"
	"path/filepath"
	"strconv"
)

// runsPostmaster tells whether that process is the Postgres server of the data
// directory: it works inside it, and no other program has a reason to.
func runsPostmaster(pid int, cluster string) bool {
	where, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	if err != nil {
		return false // gone, a zombie, or someone else's
	}
	there, err := filepath.EvalSymlinks(cluster)
	return err == nil && where == there
}
