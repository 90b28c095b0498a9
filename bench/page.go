package bench

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// page is Markdown as it is written.
type page struct{ strings.Builder }

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// table writes a table; cells have their bars escaped.
func (p *page) table(head []string, rows [][]string) {
	p.row(head)
	p.row(slices.Repeat([]string{"---"}, len(head)))
	for _, r := range rows {
		p.row(r)
	}
	p.line("")
}

func (p *page) row(cells []string) {
	escaped := make([]string, len(cells))
	for i, c := range cells {
		escaped[i] = strings.NewReplacer("|", `\|`, "\n", " ").Replace(c)
	}
	p.line("| %s |", strings.Join(escaped, " | "))
}

func (r report) markdown(plots []plot) string {
	p, m := &page{}, r.results.Run.Machine
	p.line("<!-- written by `bench report`: do not edit -->")
	p.line("# What the bench measured\n")
	p.line("A %s run on %s, on commit `%s` and %s. Raw rows: [%s/%s](%[5]s/%[6]s). How to repeat it: [docs/performance.md](../docs/performance.md).\n",
		r.results.Run.Scale, r.results.Run.Began.UTC().Format(time.DateOnly), m.Commit, m.Kafka, resultsDir, rowsName)
	r.figureTable(p)
	p.line("## Plots\n")
	p.line("A bar is the median, a dot a round, a dashed mark the goal. Blue is ours.\n")
	for _, plot := range plots {
		p.line("![%s](%s)\n", plot.Title, filepath.ToSlash(plot.File))
	}
	r.machine(p)
	r.method(p)
	r.spreadTable(p)
	if r.again != nil {
		r.repetition(p)
	}
	r.everything(p)
	return strings.TrimRight(p.String(), "\n") + "\n"
}

// figureTable has what the bench is there for; what is only watched stands behind it, in a table of its own.
func (r report) figureTable(p *page) {
	var goals, watched [][]string
	for _, f := range r.figures {
		if f.Goal == "" && strings.Contains(f.Name, ".") {
			watched = append(watched, []string{"`" + f.Name + "`", goalOf(f.Name).What, number(f.Ours), optional(f.Theirs), f.Unit, f.Note})
			continue
		}
		goals = append(goals, []string{"`" + f.Name + "`", goalOf(f.Name).What, number(f.Ours), optional(f.Theirs), f.Unit, times(f.Ratio), times(f.WorstPair), f.Goal, reached(f), f.Note})
	}
	p.table([]string{"figure", "what", "ours", "theirs", "unit", "ratio", "worst pair", "goal", "reached", "note"}, goals)
	p.line("Ours and theirs are medians over the rounds; the ratio is ours ÷ theirs; the worst pair is our worst round beside their best.\n")
	r.failures(p)
	if len(watched) > 0 {
		p.line("Parts of them, without goals:\n")
		p.table([]string{"figure", "what", "ours", "theirs", "unit", "note"}, watched)
	}
}

// failures names the rounds that make no figure. A report without them would look better than the run was.
func (r report) failures(p *page) {
	for _, row := range r.results.Rows {
		if row.Failed != "" {
			p.line("Failed, and counted nowhere: %s, %s, round %d: %s\n", row.Scenario, row.Side, row.Round, row.Failed)
		}
	}
}

func (r report) machine(p *page) {
	m := r.results.Run.Machine
	low, high := r.fsyncs()
	p.line("## Machine\n")
	p.table([]string{"what", "which"}, [][]string{
		{"processor", fmt.Sprintf("%s, %d cores, for everything: both sides' processes, servers and load", m.CPU, m.Cores)},
		{"load in the minute before", number(m.Load)},
		{"memory", number(m.MemoryGiB) + " GiB"},
		{"kernel, file system", m.Kernel + ", " + m.FileSystem},
		{"fsyncs/s, one after the other, before the rounds", number(low) + " to " + number(high)},
		{"Go", m.Go},
		{"Postgres", m.Postgres},
		{"broker", m.Kafka},
	})
}

func (r report) fsyncs() (low, high float64) {
	for i, row := range r.results.Rows {
		if i == 0 || row.FsyncsPerSecond < low {
			low = row.FsyncsPerSecond
		}
		high = max(high, row.FsyncsPerSecond)
	}
	return low, high
}

func (r report) method(p *page) {
	p.line("## Method\n")
	p.line("1. Every scenario runs its sides in turn (ours, theirs, ours, theirs …), rounds: %d; the soak once.", r.results.Run.Rounds)
	p.line("2. Both sides stand on the same Postgres and the same broker: `fsync` and `synchronous_commit` on, `acks=all`, %d partitions a topic.", partitions)
	p.line("3. Each side gets an empty database and a broker without topics in each round. They are dropped afterwards, and a checkpoint is made before the next.")
	p.line("4. Both sides get the same payloads. Stock Watermill runs the same saga with the settings of its documentation, and tuned: the goals are set beside the documented one, the tuned one stands in the rows `.tuned`, or in a note.")
	p.line("5. All of it shares the machine: load, both servers, and the side that is measured.")
	p.line("6. Both sides end with the same checks: every order final, stock and money add up, nothing lost. A round that fails one makes no figure and fails the run.")
	p.line("7. Latencies are taken from the database's clock: from the start of the transaction that accepted the order to the start of the one that made it PAID. The load is open: an order is sent when it is due, whether or not the last one was answered.")
	p.line("8. At saturation the number of orders that are under way at once is bounded, the same on both sides; counted are orders that became final.")
	p.line("9. Medians over the rounds; the worst pair is our worst round beside their best.")
	p.line("10. Before each round the rate of fsyncs is measured, for it bounds what a transaction per message can reach.")
	p.line("11. What weighs on the opponent by its nature: it handles one message of a partition at a time, so more partitions would give it more transactions at once; and it publishes events one by one, each of which the embedded broker syncs to its disk (SyncWrites), as Apache Kafka does not.")
	p.line("12. A call to the outside (a charge, a notice) is never made inside a transaction, on either side: the opponent commits before it and again with its answer.")
	p.line("13. `hot_sku`'s opponents are SQL by hand, without Watermill: one transaction per reservation, statement by statement (*stock*, which the goal is set beside), and all in one statement (*stock tuned*). `idle_tx` shows the tuned one alone, since both wait for the same transactions.\n")
}

func (r report) spreadTable(p *page) {
	p.line("## Spread over the rounds\n")
	p.line("Lowest / median / highest, each round taken by itself.\n")
	var rows [][]string
	for _, f := range r.figures {
		s, ok := r.spreads[f.Name]
		if !ok {
			continue
		}
		rows = append(rows, []string{"`" + f.Name + "`", fmt.Sprint(len(s.Ours.Rounds)), s.Ours.String(), s.Theirs.String(), s.Ratio.String()})
	}
	p.table([]string{"figure", "rounds", "ours", "theirs", "ratio"}, rows)
}

// String is lowest / median / highest; nothing if there were no rounds.
func (s Spread) String() string {
	if len(s.Rounds) == 0 {
		return ""
	}
	return number(s.Min) + " / " + number(s.Median) + " / " + number(s.Max)
}

// repetition sets another run beside the one the report is of.
func (r report) repetition(p *page) {
	p.line("## The same again\n")
	p.line("Another run, begun %s, on commit `%s` ([%s/%s](%[3]s/%[4]s)).\n", apart(r.results.Run.Began, r.again.Run.Began), r.again.Run.Machine.Commit, resultsDir, againName)
	var rows [][]string
	for _, c := range Compare(r.scenarios, r.results, *r.again) {
		rows = append(rows, []string{"`" + c.Name + "`", c.Unit, number(c.OursThen), number(c.OursNow), percent(c.OursChange), times(c.RatioThen), times(c.RatioNow)})
	}
	p.table([]string{"figure", "unit", "ours, above", "ours, other", "change", "ratio, above", "ratio, other"}, rows)
}

// everything lists each value of each side, as the figures are made from some of them only.
func (r report) everything(p *page) {
	p.line("## Everything that was measured\n")
	p.line("Lowest / median / highest over the rounds.\n")
	var rows [][]string
	for _, s := range r.scenarios {
		for _, side := range s.Sides {
			names := map[string]bool{}
			for _, row := range r.results.Rows {
				if row.Scenario == s.Name && row.Side == side.Name {
					for name := range row.Values {
						names[name] = true
					}
				}
			}
			own := slices.DeleteFunc(slices.Clone(r.results.Rows), func(row Row) bool { return row.Scenario != s.Name })
			for _, name := range sortedKeys(names) {
				values := Collect(own, side.Name, name)
				if len(values) > 0 {
					rows = append(rows, []string{s.Name, side.Name, name, spreadOf(values).String()})
				}
			}
		}
	}
	p.table([]string{"scenario", "side", "value", "lowest / median / highest"}, rows)
}

// apart tells how long before or after the first run another one began.
func apart(first, other time.Time) string {
	if d := first.Sub(other).Round(time.Minute); d > 0 {
		return d.String() + " earlier"
	}
	return other.Sub(first).Round(time.Minute).String() + " later"
}
