package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"millrace/config"
	"millrace/deadletter"
	"millrace/deadletter/filter"
	"millrace/embedded"
)

const (
	// completionLimit is how long somebody who pressed the tab key waits at the most.
	completionLimit = time.Second
	// completions is how many are offered.
	completions = 50
	// hintWidth is how much is said of each.
	hintWidth = 50
)

// completer offers what a word may become.
type completer = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective)

// completeFlag offers values for a flag.
func completeFlag(cmd *cobra.Command, flag string, c completer) {
	_ = cmd.RegisterFlagCompletionFunc(flag, c) // it fails for a flag that is not there
}

// completeOthers offers what --output takes, for a command and those below it; and nothing for flags that nobody offers
// anything for, where a shell would offer files. Only --file is one.
func completeOthers(cmd *cobra.Command) {
	cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
		o, output := flag.Value.(*outputFlag)
		_, done := cmd.GetFlagCompletionFunc(flag.Name)
		switch {
		case output:
			completeFlag(cmd, flag.Name, cobra.FixedCompletions(o.allowed, cobra.ShellCompDirectiveNoFileComp))
		case !done && flag.Name != "file":
			completeFlag(cmd, flag.Name, cobra.NoFileCompletions)
		}
	})
	if cmd.ValidArgsFunction == nil && cmd.Name() != "import" { // which takes a file
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, sub := range cmd.Commands() {
		completeOthers(sub)
	}
}

// quickDesks are the desks of databases that answer at once. Nothing is started, and nothing is said of trouble:
// there are no proposals then.
func quickDesks(do func(ctx context.Context, desk *deadletter.Desk)) {
	ctx, cancel := context.WithTimeout(context.Background(), completionLimit)
	defer cancel()
	cfg, err := config.Load(config.Environ())
	if err != nil {
		return
	}
	if len(cfg.Services) == 0 {
		cfg.Services = config.AllServices()
	}
	s := &servers{}
	if e, err := embedded.ReadEndpoints(cfg.DataDir); err == nil {
		s.privateDSN = e.Postgres
	}
	for _, db := range groupByDatabase(cfg, s) {
		if db.dsn == "" {
			continue
		}
		pool, err := openPool(ctx, db.dsn, 1, completionLimit)
		if err != nil {
			continue
		}
		do(ctx, deadletter.NewDesk(pool, nil, ""))
		_ = pool.Close() // it was only read from
	}
}

// proposal is a word and what it stands for, as cobra wants them.
func proposal(word, hint string) string { return word + "\t" + oneLine(hint, hintWidth) }

// completeLetters offers ids of letters that meet a filter, and are not named yet.
func completeLetters(condition string) completer {
	return func(_ *cobra.Command, args []string, word string) (list []string, _ cobra.ShellCompDirective) {
		text := condition
		if word != "" {
			if strings.Trim(strings.ToLower(word), "0123456789abcdef-") != "" {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			text = strings.TrimSpace("(" + condition + ") id:" + strings.ToLower(word) + "*")
			if condition == "" {
				text = "id:" + strings.ToLower(word) + "*"
			}
		}
		c, err := filter.Parse(text, time.Now())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		quickDesks(func(ctx context.Context, desk *deadletter.Desk) {
			page, _, err := desk.Page(ctx, c, 0, completions)
			if err != nil {
				return
			}
			for _, l := range page {
				if !slices.Contains(args, l.ID) {
					list = append(list, proposal(l.ID, l.Service+": "+l.Error))
				}
			}
		})
		return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

// groupIDs are those of letters that wait.
func groupIDs(prefix string) (list []string) {
	quickDesks(func(ctx context.Context, desk *deadletter.Desk) {
		groups, err := desk.Groups(ctx, unsettled(filter.Condition{SQL: "true"}, false))
		if err != nil {
			return
		}
		for _, g := range groups[:min(len(groups), completions)] {
			list = append(list, proposal(prefix+g.Fingerprint, strings.Join(g.Services, ",")+": "+g.Error))
		}
	})
	return list
}

func completeGroups(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return groupIDs(""), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

func completeServices(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return config.AllServices(), cobra.ShellCompDirectiveNoFileComp
}

func completeRedrives(*cobra.Command, []string, string) (list []string, _ cobra.ShellCompDirective) {
	quickDesks(func(ctx context.Context, desk *deadletter.Desk) {
		redrives, err := desk.Redrives(ctx, maxRedrives)
		if err != nil {
			return
		}
		for _, r := range redrives {
			list = append(list, proposal(r.ID, r.Selection))
		}
	})
	return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// filterValues are what some fields can be.
var filterValues = map[string][]string{
	"service": letterFields["service"],
	"status":  letterFields["status"],
	"since":   {"15m", "1h", "24h", "7d"},
	"until":   {"15m", "1h", "24h", "7d"},
}

// completeFilter offers fields, and the values of those that have few.
func completeFilter(_ *cobra.Command, _ []string, word string) (list []string, _ cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp
	field, _, valued := strings.Cut(word, ":")
	switch {
	case valued && field == "group":
		return groupIDs("group:"), directive | cobra.ShellCompDirectiveKeepOrder
	case valued:
		for _, v := range filterValues[field] {
			list = append(list, field+":"+v)
		}
		return list, directive
	}
	for _, name := range filter.Fields() {
		if name == "body" || name == "header" {
			list = append(list, name+".")
		} else {
			list = append(list, name+":")
		}
	}
	return list, directive | cobra.ShellCompDirectiveNoSpace
}

// completeOneFilter is the same for a filter in one word, of which the last condition is being typed.
func completeOneFilter(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	at := strings.LastIndex(word, " ") + 1
	list, directive := completeFilter(cmd, args, word[at:])
	for i := range list {
		list[i] = word[:at] + list[i]
	}
	return list, directive
}
