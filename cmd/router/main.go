// Command router is Millrace: an event-driven order system in one binary.
package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"millrace/cmd/exit"
	"millrace/embedded"
)

func main() {
	embedded.RunFetchChildIfAsked()
	tuneGC()
	uuid.EnableRandPool() // ids are made by the thousand; the pool asks the system for bytes in bulk
	exit.Run("router", rootCommand().ExecuteContext)
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "router",
		Short: "An event-driven order system: Watermill, Kafka, and a transactional outbox in Postgres",
		Long: `An event-driven order system. Six services meet in sixteen Kafka topics; a transactional
outbox carries their events from Postgres to Kafka.

  router serve          runs it; without configuration, on an embedded broker and a private Postgres
  router demo           places orders against a running router and accounts for each of them
  router flow           shows who says what and who hears it
  router dlq            shows what could not be processed, and has it tried again
  router verify         proves what can be proved from the databases and the log`,
		SilenceUsage: true, SilenceErrors: true,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return exit.Misuse(fmt.Errorf("%w (see %s --help)", plainFlagError(err), cmd.CommandPath()))
	})
	root.AddCommand(serveCommand(), flowCommand(), migrateCommand(), dlqCommand(), verifyCommand(), versionCommand(), demoCommand())
	wrapArgs(root)
	return root
}

// flagTakes says what flags of some types take. Others say so themselves.
var flagTakes = map[string]string{
	"int": "a whole number", "int64": "a whole number", "float64": "a number", "duration": "a duration: 30s, 5m, 2h", "bool": "true or false",
}

// plainFlagError says what a flag takes, and not which function could not read it.
func plainFlagError(err error) error {
	wrong, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err
	}
	flag := wrong.GetFlag()
	if _, output := flag.Value.(*outputFlag); output {
		return fmt.Errorf("--%s: %w, not %q", flag.Name, wrong.Unwrap(), clean(wrong.GetValue()))
	}
	takes, known := flagTakes[flag.Value.Type()]
	if !known {
		return err
	}
	return fmt.Errorf("--%s takes %s, not %q", flag.Name, takes, clean(wrong.GetValue()))
}

// wrapArgs makes a wrong argument a usage error, for the command and those below it.
func wrapArgs(cmd *cobra.Command) {
	check := cmd.Args
	if check == nil {
		check = cobra.NoArgs
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return exit.Misuse(fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath()))
		}
		return nil
	}
	for _, sub := range cmd.Commands() {
		wrapArgs(sub)
	}
}

// outputFlag is the --output flag of commands that print data.
type outputFlag struct {
	value   string
	allowed []string
}

func (o *outputFlag) String() string { return o.value }
func (o *outputFlag) Type() string   { return strings.Join(o.allowed, "|") }
func (o *outputFlag) Set(v string) error {
	for _, a := range o.allowed {
		if a == v {
			o.value = v
			return nil
		}
	}
	return fmt.Errorf("it is one of %s", strings.Join(o.allowed, ", "))
}

func addOutput(cmd *cobra.Command, allowed ...string) *outputFlag {
	o := &outputFlag{value: allowed[0], allowed: allowed}
	cmd.Flags().Var(o, "output", "how to print")
	return o
}
