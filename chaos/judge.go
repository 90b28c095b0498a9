package chaos

import "time"

// judge compares what came about with what was expected.
func (r *run) judge(v *Verdict) {
	r.result.Verdict, r.result.Restarts = v, r.system.restarts()
	if r.Scenario.expect != nil {
		for _, why := range r.Scenario.expect(v) {
			r.wrong("%s", why)
		}
	} else if !v.OK {
		r.wrong("router verify counts %d violations %v, such as %s", v.Violations, v.violated(), v.example())
	}
	for _, surprise := range r.load.surprises {
		r.wrong("a client was surprised: %s", surprise)
	}
	felt := map[string]int64{}
	for _, b := range r.result.Faults {
		felt[b.Fault] += b.Hits
	}
	for name, hits := range felt {
		switch {
		case hits > 0:
		case r.Scenario.Overlap: // another one had left nothing for it to break
			r.say("%s was never felt", name)
		default:
			r.wrong("%s was never felt", name)
		}
	}
	if v.Counts.Orders == 0 {
		r.wrong("no order was placed")
	}
	if err := r.system.stopRouters(); err != nil {
		r.wrong("%v", err)
	}
	complaints, err := r.system.complaints()
	if err != nil {
		r.wrong("%v", err)
	}
	for _, c := range complaints {
		r.wrong("%s", c)
	}
	if len(r.result.Why) == 0 {
		r.say("right: %d orders, %d records, %d of them again, %d listed; at rest after %s", v.Counts.Orders, v.Counts.Records, v.Counts.Duplicates, v.ListedCount, r.result.Rest.Round(time.Millisecond))
	}
}
