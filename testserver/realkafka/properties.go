//go:build unix

package realkafka

import "fmt"

// properties is a broker's configuration: a node that is its own controller.
func properties(port, advertised, controller int, dir string) string {
	return fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:%[2]d
listeners=PLAINTEXT://127.0.0.1:%[1]d,CONTROLLER://127.0.0.1:%[2]d
advertised.listeners=PLAINTEXT://127.0.0.1:%[4]d
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=%[3]s
`, port, controller, dir, advertised) + fixedProperties
}

const fixedProperties = `
# Topics are created by those who know how many partitions they need.
auto.create.topics.enable=false

# One node holds all there is.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1

# Few internal partitions: each costs files and time at the start.
offsets.topic.num.partitions=3
transaction.state.log.num.partitions=3
share.coordinator.state.topic.num.partitions=1

# Groups form at once, and a dead member is missed within a second.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=300
group.consumer.heartbeat.interval.ms=500
group.consumer.min.session.timeout.ms=1000
group.consumer.assignment.interval.ms=0

# After a kill -9 the controller holds the old registration that long.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500

# Little memory and few threads: it shares two cores with what is tested.
log.index.size.max.bytes=1048576
log.cleaner.dedupe.buffer.size=8388608
num.network.threads=2
num.io.threads=4
background.threads=2
`
