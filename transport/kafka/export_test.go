package kafka

import "github.com/twmb/franz-go/pkg/kgo"

// With adds options of franz-go that only tests need.
func With(config Config, more ...kgo.Opt) Config {
	config.more = append(config.more, more...)
	return config
}
