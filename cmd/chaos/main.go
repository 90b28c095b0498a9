// Command chaos breaks a running system in every way it can, from a seed, and has router verify judge what is left. It
// is run in a checkout of the repository, with Go on PATH: it builds what it breaks.
package main

import (
	"millrace/cmd/exit"
	"millrace/embedded"
)

func main() {
	embedded.RunFetchChildIfAsked()
	exit.Run("chaos", rootCommand().ExecuteContext)
}
