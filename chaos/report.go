package chaos

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Page is docs/chaos.md: what was run, what came of it, and, from found, what it found.
func Page(results []Result, found string) string {
	var b strings.Builder
	b.WriteString(`# What was broken, and what was left

<!-- Written by: make chaos ARGS=--report -->

`)
	b.WriteString("`make chaos` starts a Postgres, a broker and routers of its own, places orders (cancels, returns, repeated requests, callbacks that come doubled, late and wrong), breaks things, heals them,\n" +
		"waits for rest, and has `router verify` ([guarantees](guarantees.md)) judge from the databases and the log alone. A run prints the command that repeats it, at its start and where it goes wrong.\n" +
		"A run that goes wrong keeps its schedule, the logs of all processes, dumps of database and topics, and what verify said, and prints where.\n\n" +
		"What the seed determines: what breaks, where, when, for how long (bad weather on a line up to ten seconds longer, until something meets it), which orders are placed and what becomes of them outside, and which of the requests, packets or changes that a fault meets it spoils, by their number. Not: whose they are. " +
		"Requests arrive as the processes come to make them, and the machine decides about that; so the same seed is the same storm, not the same drops.\n\n" +
		"Wrong is what `router verify` counts, and besides: letters that are open at the end, orders that have not ended for another reason than NEEDS_ATTENTION or a letter that was dropped, a fault that nothing felt, a router that ended by itself though no server was hidden from it then, or just before, " +
		"a data race or a panic in a log, an answer of 500 or more, or none within 20 s, while nothing had been broken for ten seconds, a replica that does not answer when all is healed, and, where a scenario is an outage of ours, an order cancelled at its deadline for it.\n\n" +
		"`make chaos-quick` is half a minute of it; `make chaos ARGS='--random --for 30m'` is all faults mixed, several at a time; `make chaos ARGS=--list` shows every scenario and fault.\n\n")
	scenarioTable(&b, results)
	elsewhere(&b)
	faultTable(&b, results)
	b.WriteString("## What it found\n\n")
	b.WriteString(found)
	return b.String()
}

// sum is what came of all runs of a scenario with a broker.
type sum struct {
	runs, wrong               int
	orders, faults, duplicate int64
	violations                int64
	expected                  bool
	seeds                     []string
	notes                     []string
	neverFelt                 map[string]int // how often
	ended                     int            // routers that ended by themselves
	ending                    string         // one of the reasons; empty where none was kept
	recoveries                []time.Duration
	standstill                time.Duration
}

func (s *sum) add(r Result) {
	s.runs++
	s.seeds = append(s.seeds, fmt.Sprint(r.Seed))
	if !r.OK {
		s.wrong++
	}
	if r.Verdict != nil {
		s.orders += r.Verdict.Counts.Orders
		s.duplicate += r.Verdict.Counts.Duplicates
		s.violations += r.Verdict.Violations
	}
	s.note(r)
	s.expected = s.expected || r.Expected != ""
	s.faults += int64(len(r.Faults))
	s.standstill = max(s.standstill, r.Standstill)
	for _, f := range r.Faults {
		if f.Recovery >= 0 {
			s.recoveries = append(s.recoveries, f.Recovery)
		}
	}
}

// note takes what a reader has to know besides.
func (s *sum) note(r Result) {
	add := func(text string) {
		if !slices.Contains(s.notes, text) {
			s.notes = append(s.notes, text)
		}
	}
	for _, f := range r.NotDone {
		add("not done: " + f)
	}
	for _, f := range r.NeverFelt {
		if s.neverFelt == nil {
			s.neverFelt = map[string]int{}
		}
		s.neverFelt[f]++
	}
	if v := r.Verdict; v != nil && r.OK && v.Counts.Letters+v.Counts.Parked > 0 {
		add(fmt.Sprintf("seed %d: %d letters were open and %d messages parked, which was not judged then", r.Seed, v.Counts.Letters, v.Counts.Parked))
	}
	if s.ended += r.Restarts; len(r.Endings) > 0 && s.ending == "" {
		s.ending = r.Endings[0]
	}
}

// besides is what a reader has to know besides, in a cell.
func (s *sum) besides() string {
	list := slices.Clip(s.notes)
	var faults []string
	for _, name := range slices.Sorted(maps.Keys(s.neverFelt)) {
		if n := s.neverFelt[name]; n > 1 {
			name += fmt.Sprintf(" (%d times)", n)
		}
		faults = append(faults, name)
	}
	if len(faults) > 0 {
		list = append(list, "never felt, beside others that were: "+strings.Join(faults, ", "))
	}
	switch {
	case s.ended == 0:
	case s.ending == "":
		list = append(list, fmt.Sprintf("routers ended by themselves %d times, why was not kept", s.ended))
	default:
		list = append(list, fmt.Sprintf("routers ended by themselves %d times; one of them: %s", s.ended, inCell(s.ending)))
	}
	return strings.Join(list, "; ")
}

// longestNote is how much of a reason a cell of the table has.
const longestNote = 160

// inCell makes a reason fit into a cell.
func inCell(text string) string {
	short := []rune(strings.ReplaceAll(text, "|", "/"))
	if len(short) <= longestNote {
		return string(short)
	}
	return string(short[:longestNote]) + "…"
}

// mostSeeds are named one by one; of more, the first and the last.
const mostSeeds = 4

func (s *sum) seedText() string {
	if len(s.seeds) <= mostSeeds {
		return strings.Join(s.seeds, ", ")
	}
	return fmt.Sprintf("%s … %s (%d)", s.seeds[0], s.seeds[len(s.seeds)-1], len(s.seeds))
}

// load is how long the load of each run lasted.
func (s *sum) load(each time.Duration) string {
	if s.runs == 1 {
		return each.String()
	}
	return fmt.Sprintf("%d × %s", s.runs, each)
}

func (s *sum) recovery() string {
	if len(s.recoveries) == 0 {
		return "–"
	}
	slices.Sort(s.recoveries)
	return seconds(s.recoveries[len(s.recoveries)/2]) + " / " + seconds(s.recoveries[len(s.recoveries)-1])
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// place is a row: runs of the same in the same way. A run of half an hour is a row of its own beside those of a minute.
type place struct {
	name           string
	kafka          Kafka
	lasted         time.Duration
	of, old, other string
	rate           float64
}

func placeOf(r Result) place {
	p := place{name: r.Scenario, kafka: r.Kafka, lasted: r.Lasted, of: r.Of.String(), rate: r.Rate, other: strings.Join(r.Env, " ")}
	if r.Old != nil {
		p.old = r.Old.String()
	}
	return p
}

// program is what was run, and with what.
func (p place) program() string {
	text := p.of
	if p.old != "" {
		text += ", beside " + p.old
	}
	if p.other != "" {
		text += ", `" + p.other + "`"
	}
	return text
}

func (p place) perSecond() string {
	if p.rate == 0 {
		return "–"
	}
	return fmt.Sprint(p.rate)
}

func comparePlaces(a, c place) int {
	return cmp.Or(cmp.Compare(a.kafka, c.kafka), cmp.Compare(a.lasted, c.lasted), cmp.Compare(a.program(), c.program()), cmp.Compare(a.rate, c.rate))
}

func scenarioTable(b *strings.Builder, results []Result) {
	sums := map[place]*sum{}
	for _, r := range results {
		at := placeOf(r)
		if sums[at] == nil {
			sums[at] = &sum{}
		}
		sums[at].add(r)
	}
	b.WriteString("## Runs\n\nRecovery is from the end of a fault to the next step of the service that takes longest for it, the median and the longest; standstill is the longest time, faults included, in which no order got on at the order service. " +
		"*Doubled* are records that lie in the log more than once, which nobody may notice. A commit with a plus had changes beside it.\n\n" +
		"| # | scenario | commit | broker | seeds | load | orders/s | orders | faults | doubled | violations | recovery | standstill | besides |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, s := range slices.Concat(Scenarios(), []Scenario{Random(), Quick()}) {
		if s.Elsewhere != "" {
			continue
		}
		run := false
		for _, at := range slices.SortedFunc(maps.Keys(sums), comparePlaces) {
			if at.name != s.Name {
				continue
			}
			run = true
			x := sums[at]
			violations := fmt.Sprint(x.violations)
			if x.expected {
				violations += ", as expected"
			}
			if x.wrong > 0 {
				violations += fmt.Sprintf("; **%d runs went wrong**", x.wrong)
			}
			fmt.Fprintf(b, "| %s | %s: %s | %s | %s | %s | %s | %s | %d | %d | %d | %s | %s | %s | %s |\n", number(s), s.Name, s.Title, at.program(), at.kafka, x.seedText(), x.load(at.lasted), at.perSecond(),
				x.orders, x.faults, x.duplicate, violations, x.recovery(), seconds(x.standstill), x.besides())
		}
		if !run {
			fmt.Fprintf(b, "| %s | %s: %s | – | – | – | – | – | – | – | – | **not run** | – | – | |\n", number(s), s.Name, s.Title)
		}
	}
	b.WriteString("\n")
	for _, s := range Scenarios() {
		if s.Expected != "" {
			fmt.Fprintf(b, "* What is expected of `%s`: %s\n", s.Name, s.Expected)
		}
	}
	b.WriteString("\n")
}

func number(s Scenario) string {
	if s.Number == 0 {
		return ""
	}
	return fmt.Sprint(s.Number)
}

func elsewhere(b *strings.Builder) {
	b.WriteString("## Shown elsewhere\n\nThe numbers are those of the plan's 28 scenarios.\n\n| # | what | where, or why not here |\n|---|---|---|\n")
	for _, s := range Scenarios() {
		if s.Elsewhere != "" {
			fmt.Fprintf(b, "| %s | %s | %s |\n", number(s), s.Title, quoted(s.Elsewhere))
		}
	}
	b.WriteString("| 22 | clocks of routers | Go programs ask the kernel for the time, past every library that could give them another one, and the machine's clock is everybody's. What routers do by the clock (leases, deadlines, effects), they do by the database's, which is moved. |\n")
	b.WriteString("| – | wrong answers of a provider | The simulated provider is part of the router: it can be down, slow, refuse, act without an answer; a callback that contradicts what it said comes from the load. |\n")
	b.WriteString("| – | a failover of the broker to a replica | The embedded broker and a Kafka of one node have none; their answers in such a case (not leader, not enough replicas) are given by the proxy. |\n\n")
}

// quoted marks tests as code, which docs_test.go looks for.
func quoted(text string) string {
	words := strings.Split(text, " ")
	for i, w := range words {
		if name := strings.TrimRight(w, ",;:"); strings.HasPrefix(name, "Test") {
			words[i] = "`" + name + "`" + w[len(name):]
		}
	}
	return strings.Join(words, " ")
}

func faultTable(b *strings.Builder, results []Result) {
	all := map[string]*sum{}
	hits := map[string]int64{}
	for _, r := range results {
		for _, f := range r.Faults {
			if all[f.Fault] == nil {
				all[f.Fault] = &sum{}
			}
			all[f.Fault].faults++
			hits[f.Fault] += f.Hits
			if f.Recovery >= 0 {
				all[f.Fault].recoveries = append(all[f.Fault].recoveries, f.Recovery)
			}
		}
	}
	b.WriteString("## Faults\n\n*Felt* counts requests spoilt, processes killed, sessions ended: what was never felt proves nothing, and its run counts as one that went wrong, unless others came at the same time. Where nothing counts who feels it, it is *injected*: so often was it done.\n\n| fault | what | heals | times | felt | recovery |\n|---|---|---|---|---|---|\n")
	for _, f := range Faults() {
		n := sum{}
		if all[f.Name] != nil {
			n = *all[f.Name]
		}
		felt := fmt.Sprint(hits[f.Name])
		if f.Injected {
			felt += " injected"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %d | %s | %s |\n", f.Name, f.What, f.Heals, n.faults, felt, n.recovery())
	}
	b.WriteString("\n")
}
