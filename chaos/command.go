package chaos

import (
	"fmt"
	"strings"
	"time"
)

// Command is what repeats the run, typed in a checkout of the same commit. The seed says what breaks, where, when and for
// how long, and which orders are placed; which request, packet or row a fault meets is up to the machine.
func (c Config) Command() string {
	words := []string{"go", "run", "./cmd/chaos"}
	add := func(flag string, value any) { words = append(words, flag, quotedForShell(fmt.Sprint(value))) }
	table := Scenario{}
	switch c.Scenario.Name {
	case Random().Name:
		words, table = append(words, "--random"), Random()
	case Quick().Name:
		words, table = append(words, "--quick"), Quick()
	default:
		add("--scenario", c.Scenario.Name)
		table, _ = Named(c.Scenario.Name) // one of somebody's own is repeated by whoever has it
	}
	add("--seed", c.Seed)
	if c.Lasts > 0 && c.Lasts != table.Lasts {
		add("--for", c.Lasts.Round(time.Millisecond))
	}
	if c.Scenario.Rate != 0 && c.Scenario.Rate != table.Rate {
		add("--rate", c.Scenario.Rate)
	}
	if c.Scenario.Replicas != 0 && c.Scenario.Replicas != table.Replicas {
		add("--replicas", c.Scenario.Replicas)
	}
	if c.Kafka == RealKafka {
		add("--kafka", c.Kafka)
	}
	for _, setting := range c.Env {
		add("--env", setting)
	}
	if c.Race {
		words = append(words, "--race")
	}
	if c.Programs.Old != "" {
		add("--old", c.Programs.Old)
	}
	if c.Programs.Built == nil && c.Programs.Router != "" {
		add("--router", c.Programs.Router)
	}
	return strings.Join(words, " ")
}

// harmless are the characters that a shell takes as they are.
const harmless = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,:/@%"

func quotedForShell(word string) string {
	if word != "" && strings.Trim(word, harmless) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
