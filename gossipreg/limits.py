"""Limits: every bound with its unit and its reason.

What a *user* gives beyond a bound is refused with a sentence where it is given; what a *peer* sends
beyond one is counted and dropped where it arrives. Nothing is allocated before its bound is checked.
"""

from __future__ import annotations

from typing import Final

#: Largest datagram payload sent, sealed (bytes). Below 1500 (Ethernet) less IPv6, UDP and a tunnel's header, so
#: that a packet is never fragmented: losing one fragment loses the packet.
PACKET_BYTES_MAX: Final = 1400

#: Largest datagram read (bytes). A peer of a later version may send more than we do; jumbo frames are 9000.
RECEIVE_BYTES_MAX: Final = 9216

#: Largest record accepted, packed (bytes). A record is held by every node: 64 KiB x 10,000 records is
#: 640 MiB each, about what a host can spare for a registry. Refused at `register`, never in the middle.
RECORD_BYTES_MAX: Final = 65_536

#: Largest record that travels inside gossip (bytes). A larger one is announced by its digest and fetched over a
#: stream, so that one big record cannot fill a packet that could have carried ten small ones.
INLINE_RECORD_BYTES_MAX: Final = 900

#: Largest frame on a stream (bytes): one record of full size and its head, or a batch of small ones.
FRAME_BYTES_MAX: Final = 262_144

#: Where a batch of records is cut into the next frame (bytes); a full-size record may still follow.
FRAME_BYTES_SOFT: Final = FRAME_BYTES_MAX - RECORD_BYTES_MAX - 4096

#: Members remembered, dead ones included: four times the largest cluster that we plan for (about 1 KiB each). Beyond it
#: those are evicted that this node never heard from, then those that failed or left; never one that has answered.
MEMBERS_MAX: Final = 16_384

#: Newcomers that evict strangers in a second, where there is no room: those that peers report, and those that send
#: packets themselves from their own host. A few, or nodes full of made-up members would evict each other's for ever.
NEWCOMERS_PER_SECOND_MAX: Final = 10
NEWCOMERS_IN_PERSON_PER_SECOND_MAX: Final = 200

#: Records of one owner, tombstones included. An agent for a large host has thousands; a hundred thousand is a bug.
RECORDS_PER_OWNER_MAX: Final = 100_000

#: What the records of one owner hold together (bytes, packed): a thousand of the largest, or 100,000 of 670 bytes.
RECORDS_BYTES_PER_OWNER_MAX: Final = 64 * 1024 * 1024

#: Records of all owners, tombstones included (about 1 KiB each beside what they hold), and what they hold (bytes): as
#: much as a host can spare for a registry. Beyond it the tables of owners that never answered give way.
RECORDS_MAX: Final = 262_144
RECORDS_BYTES_MAX: Final = 640 * 1024 * 1024

#: Owners whose records are kept before their membership update arrives (updates and records travel apart), how many of
#: each, and what those hold (bytes). The rest comes by reconciliation, once the owner is known.
PENDING_OWNERS_MAX: Final = 256
PENDING_OWNER_RECORDS_MAX: Final = 1024
PENDING_OWNER_BYTES_MAX: Final = 262_144

#: Regions that one node follows, and agents that are named of each.
REGIONS_MAX: Final = 16
REGION_AGENTS_MAX: Final = 64

#: Services of one region that a node follows at one time. Beyond it the one that was asked for longest ago gives way.
REGION_SERVICES_MAX: Final = 1024

#: Names in the directory of a region's services, and tags of one of them that are told.
REGION_NAMES_MAX: Final = 16_384
REGION_TAGS_MAX: Final = 256

#: Instances of one region that a node holds (about 1.5 KiB each), and of one service in them.
REGION_INSTANCES_MAX: Final = 65_536
REGION_SERVICE_INSTANCES_MAX: Final = 16_384

#: Tags, meta and reasons of the instances of one region that a node holds (characters): 1 KiB for each instance.
REGION_CHARS_MAX: Final = 67_108_864

#: Where an answer about services of a region is cut, the rest to be asked for again (bytes), and the largest that is
#: read: one service of ten thousand instances. What follows is not held beside it.
REGION_ANSWER_BYTES_SOFT: Final = 524_288
REGION_ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024

#: The largest service that is told in such an answer (bytes), so that there is room for the directory beside it. Of a
#: larger one only that is told, or it would make the answer about all others unusable.
REGION_SERVICE_BYTES_MAX: Final = 6 * 1024 * 1024

#: Length of what tells one run of an agent from all others (characters): its name and the time of its start.
RUN_CHARS_MAX: Final = 128

#: Failovers whose region in use a node remembers: services, each with a list of regions. Of one that was forgotten, a
#: better region is used again at once.
FAILOVERS_MAX: Final = 1024

#: Lists and objects in such an answer, in texts, too: one for 16 bytes. An instance has 3 in about 250 bytes. Empty
#: ones without end would take 200 MiB and stop the node for a second.
REGION_ANSWER_BRACKETS_MAX: Final = 524_288

#: Length of a member name, service, zone or role; of an instance id; of a host (characters). DNS labels stop at 63.
NAME_CHARS_MAX: Final = 63
ID_CHARS_MAX: Final = 255
HOST_CHARS_MAX: Final = 255

#: Length of a socket file's path (bytes). Linux has room for 108, the last of them a zero; others for 104.
SOCKET_PATH_BYTES_MAX: Final = 103

#: Length of a tag, a meta key or a meta value (characters). Proxies are configured through tags of some hundreds.
TAG_CHARS_MAX: Final = 1024
META_KEY_CHARS_MAX: Final = 128

#: Tags on one instance, and entries in its meta: each is shown, filtered and compared by people.
TAGS_MAX: Final = 256
META_ENTRIES_MAX: Final = 1024

#: Entries of a node's own meta, and characters of each value: as in Consul.
NODE_META_ENTRIES_MAX: Final = 64
NODE_META_VALUE_CHARS_MAX: Final = 512

#: Weight of an instance: 0 is drained. DNS SRV carries 16 bits, shared with x256 scaling for HAProxy.
WEIGHT_MAX: Final = 65_535

#: Highest fencing term of a primary that can be written: 53 bits survive JSON.
TERM_MAX: Final = 2**53 - 1

#: Highest term that a user may state, but for the next one. Peers may state as many more as milliseconds have passed
#: since 1970 (51 bits): whatever was stated, a higher term can be a millisecond later, and every node takes it.
TERM_GIVEN_MAX: Final = 2**52

#: How far a generation may be ahead of the wall clock (milliseconds: ten years), and the wall clock that is assumed at
#: the least (ms since the epoch: 2026), for a host that boots in 1970. A clock may be far off; but a generation that
#: no run can have begun in is not accepted, or its true owner would have none above it to take.
GENERATION_AHEAD_MAX: Final = 10 * 366 * 86_400_000
CLOCK_MS_LEAST: Final = 1_767_225_600_000

#: Highest incarnation (32 bits). A node that is accused in the upper half answers with a later generation instead, so
#: it can always answer; a node refutes some thousands of times in a run.
INCARNATION_MAX: Final = 2**32 - 1

#: Longest time since a member failed or left that is told (seconds: 32 bits). It is remembered for days.
AGE_MAX: Final = 2**32 - 1

#: Digests in one listing of a bucket, so that it fits a frame (9 bytes each). Entries beyond it are sent, not listed.
LISTING_DIGESTS_MAX: Final = 16_384

#: Sealed credentials of one instance (bytes): a user, a password, a certificate or two. Every node holds them.
SEALED_BYTES_MAX: Final = 16_384

#: Names among the credentials of one instance.
CREDENTIALS_MAX: Final = 64

#: Credential keys that one node opens with: the present one and those that are being replaced.
CREDENTIAL_KEYS_MAX: Final = 16

#: Keys that a node's packets and streams may be sealed with: the primary one, and those that are being replaced.
GOSSIP_KEYS_MAX: Final = 16

#: The longest time for which a key that was primary can stay held (seconds).
GOSSIP_KEY_KEPT_SECONDS_MAX: Final = 366 * 86_400.0

#: Largest certificate or revocation of an authority (bytes), and most patterns in one list of it. Statements about a
#: member carry the member's certificate, and have to fit the smallest packets; one of few patterns takes 190 bytes.
CERTIFICATE_BYTES_MAX: Final = 512
CERTIFICATE_PATTERNS_MAX: Final = 32

#: How many nodes a join token may be for. The issuer keeps a row of some 300 bytes for each until the token expires.
JOIN_TOKEN_USES_MAX: Final = 1000

#: Longest time for which a join token can be made (seconds): 30 days. It is a secret that lies in images and variables.
JOIN_TOKEN_SECONDS_MAX: Final = 30 * 86_400

#: Join tokens in one file: one for each of several issuers, and one that takes the place of each.
JOIN_TOKENS_MAX: Final = 16

#: Largest request for a certificate (characters): a token or a certificate of 512 bytes, and what authenticates it, in
#: base64. The answer is no longer.
CERTIFICATE_REQUEST_CHARACTERS_MAX: Final = 1400

#: Hosts by which it is counted what identity has refused; the rest is counted together. Any holder of the cluster's key
#: can send from many, and each is a series of the metrics.
REFUSED_SOURCES_MAX: Final = 64

#: Authorities that a node trusts: the one in use, and one that takes its place, with room for mistakes.
AUTHORITIES_MAX: Final = 8

#: Certificates of members that are remembered as verified: one for each member, and some of those that were before.
CERTIFICATES_REMEMBERED_MAX: Final = 32_768

#: Signatures whose result is remembered, right or wrong (about 200 bytes each): what comes again is not verified again.
SIGNATURES_REMEMBERED_MAX: Final = 16_384

#: Signatures that one sender can have verified at once, and in a second. One takes 0.1 ms. A join of a thousand members
#: with ten thousand records takes 11,000; two thousand registrations in a second are more than a cluster spreads.
SIGNATURES_BURST: Final = 32_768
SIGNATURES_RATE: Final = 2048.0

#: Right signatures that count as much as a wrong one: of those, one sender can have 256 verified at once, and 16 a
#: second. Members pass on only what they have verified, so honest ones send none.
SIGNATURE_WRONG_COST: Final = 128

#: Wrong signatures in one packet or frame, of which the rest is then not verified.
SIGNATURES_WRONG_PER_PACKET_MAX: Final = 8

#: Senders of a kind (members, sources of packets, of streams) whose signatures are counted, about 500 bytes each.
SIGNATURE_SENDERS_MAX: Final = 16_384

#: How many sources without a proven member can use up what is theirs at one time, by packets and again over streams.
#: Half of it is for what each has verified first.
SIGNATURE_SOURCES_AT_ONCE: Final = 4

#: Signatures that each source without a proven member has verified whatever others send: 128 right ones, or a wrong
#: one, in ten minutes. A newcomer needs two. An attacker needs 16,000 sources to use up what all share for these.
SIGNATURES_FIRST: Final = 128
SIGNATURES_FIRST_SECONDS: Final = 600.0

#: Revocations that are remembered until their certificates end. An authority that revokes more begins anew.
REVOCATIONS_MAX: Final = 4096

#: Cells of one region. Each costs every node a statement every few seconds, and its relays a stream.
CELLS_MAX: Final = 64

#: Addresses of a cell that its head names: its relays to one other cell, and some members to fall back on.
CELL_RELAYS_MAX: Final = 4

#: Members of other cells remembered, dead ones included: as many as of the own cell, for about 500 bytes each.
REMOTE_MEMBERS_MAX: Final = MEMBERS_MAX

#: Members whose signatures go with a verdict: two have to agree.
WITNESSES_MAX: Final = 2

#: Statements about keys that are remembered: of the keys in force, and of those that were given up, which the file of a
#: host that was away may still hold. One rotation a month makes 64 in five years.
KEY_STATEMENTS_MAX: Final = 64

#: Tokens of the HTTP API that the whole cluster knows: one for each team or pipeline, and those being replaced. Every
#: node holds them all.
CLUSTER_TOKENS_MAX: Final = 512

#: Scopes of one token: one for each service that it is for.
TOKEN_SCOPES_MAX: Final = 16

#: Shares of one split. Each is a version or a zone with readers of its own.
SPLIT_SHARES_MAX: Final = 64

#: Policies in force, removals remembered, and one of them packed (bytes). Every node holds them all, and a policy must
#: fit a packet: there is no fetching of large ones.
POLICIES_MAX: Final = 4096
POLICIES_REMOVED_MAX: Final = 8192
POLICY_BYTES_MAX: Final = 900

#: Prepared queries in force, and the name of one (characters). They take room from other policies; there may be as many
#: as nodes of an earlier release, which cannot read them, hold of those.
PREPARED_QUERIES_MAX: Final = 512
PREPARED_QUERY_NAME_CHARS_MAX: Final = 255

#: Entries of the meta that a prepared query asks of a node, and of a service: as many as a node has of its own. No map
#: in a policy has more.
PREPARED_QUERY_META_ENTRIES_MAX: Final = 64

#: Removals remembered of one writer. As many as users have policies in force.
POLICIES_REMOVED_PER_WRITER_MAX: Final = 4096

#: Policies held for others that cannot be read here (about 1 KiB each). A later version may add a kind or two, and its
#: nodes hold them anyway; nodes of this one only pass them on.
POLICIES_UNREADABLE_MAX: Final = 512

#: Services with a term register, and registers that a reset left empty (about 250 bytes each). Every node holds them
#: all. One for each primary that there ever was, under names that people chose: thousands; more is a mistake.
TERMS_MAX: Final = 16_384
TERMS_EMPTY_MAX: Final = 1024

#: Key of a policy (characters): a kind, a service and an id.
POLICY_KEY_CHARS_MAX: Final = 32 + NAME_CHARS_MAX + ID_CHARS_MAX

#: Updates waiting to be spread by one node. Beyond it the oldest is dropped and left to reconciliation.
BROADCAST_QUEUE_MAX: Final = 4096

#: Runs that were sent an unsolicited message a moment ago, and are sent none so soon (about 100 bytes each). A peer
#: can make up as many as it likes; beyond this the first one may be sent another.
TOLD_MAX: Final = 4096

#: Messages down broadcast trees that wait for a child's receipt, each child counted. Beyond it they are gossiped at
#: random instead.
DELIVERIES_MAX: Final = 4096

#: Packets that one receipt stands for. Six bytes each: a full one takes a quarter of a packet.
RECEIPT_NUMBERS_MAX: Final = 64

#: Bounds of the ranges of versions that a request for records names: two a range, ten bytes each at the most.
RANGES_MAX: Final = 64

#: Ids deleted last that a table remembers, for peers that lack no more than those deletions. Others compare states.
DELETED_IDS_MAX: Final = 64

#: Owners whose tables a node requests at one time. Beyond it states are compared.
TABLES_REQUESTED_MAX: Final = 256

#: How many times as long as a packet what is sent in answer to it may be, where its sender is not proven to be at its
#: address (RFC 9000 §8.1 has the same): a packet can be made under any address.
ANSWER_FACTOR_MAX: Final = 3

#: Packets that answer one request for records: eight are some sixty small records, or eight of the largest that gossip
#: carries.
ANSWER_PACKETS_MAX: Final = 8

#: Packets that answer requests in a second: what a thousand records that two members lack take. A request counts as one
#: even if nothing is sent.
ANSWER_PACKETS_PER_SECOND_MAX: Final = 256

#: Packets in a second that answer digests, with requests for what is lacking here or with a later digest. One has room
#: for a dozen, so these are for more tables than change in a second.
DIGEST_ANSWERS_PER_SECOND_MAX: Final = 256

#: Packets to one peer in one flush. A burst beyond it waits for the next gap, so that probes are not starved.
FLUSH_PACKETS_MAX: Final = 4

#: Least room on the disk of the data directory (bytes): with less it is reported. Some hundred pages of SQLite and its
#: log need as much, so that it is known before a write fails.
DISK_FREE_MIN: Final = 2 * 1024 * 1024

#: Streams open at once: those that we opened, and those that peers opened to us and proved to hold the key.
STREAMS_OUT_MAX: Final = 32
STREAMS_IN_MAX: Final = 128

#: Seeds of one requested join, addresses of a name that it tries, and addresses that a node so tries at once: half of
#: the streams that it may open, so that a long list leaves some for probes.
JOIN_SEEDS_MAX: Final = STREAMS_OUT_MAX // 2

#: Longest wait for the end of a requested join (seconds). A seed that does not answer fails within 15; a large state
#: may take longer to compare, which goes on then.
JOIN_REQUEST_SECONDS: Final = 30.0

#: Streams of peers that have proven nothing yet. A member proves itself within two round trips, so a few dozen are
#: plenty; one more than that makes the oldest of the source that holds most give way.
STREAMS_UNPROVEN_MAX: Final = 64

#: Longest time from a frame's first byte to its last (seconds): the largest frame over 70 kbit/s.
FRAME_SECONDS_MAX: Final = 30.0

#: Members whose observations one request gathers. Each answers with a row about every member: 256 rows of 256 are 2 MB.
OBSERVERS_MAX: Final = 256

#: Members asked for their observations at one time: a quarter of the streams that a node may open.
OBSERVERS_AT_ONCE: Final = STREAMS_OUT_MAX // 4

#: How long one member may take to tell its observations, and all of them together (seconds). A person waits for it.
#: One whose round trip is measured has `OBSERVER_SECONDS_MIN` and so many round trips, which a stream's beginning and a
#: few losses take: what does not answer is shown within two seconds.
OBSERVER_SECONDS: Final = 1.5
OBSERVER_SECONDS_MIN: Final = 0.5
OBSERVER_ROUND_TRIPS: Final = 8
OBSERVERS_SECONDS: Final = 4.0

#: How long the reports of all members are given to others that ask (seconds): to ask them costs each of them a stream.
OBSERVERS_KEPT_SECONDS: Final = 0.3

#: Members that an observer may name and the asking node does not know. Honest ones agree but for a moment.
OBSERVED_STRANGERS_MAX: Final = 64

#: Observations in one message: some 80 KB, a third of a frame.
OBSERVATIONS_MAX: Final = 1024

#: Problems that a member tells beside its observations, and the longest of them (characters).
OBSERVER_PROBLEMS_MAX: Final = 16
OBSERVER_PROBLEM_CHARS_MAX: Final = 320

#: Members to which one node may hold an idle stream (setting `lifelines`): half of the streams that it may open.
LIFELINES_MAX: Final = STREAMS_OUT_MAX // 2

#: Senders whose keys and replay windows are remembered (about 3 KiB each). Only key holders can add one.
SENDER_KEYS_MAX: Final = 4096

#: Sender keys derived for packets of unknown senders: at once and a second, for one source and for all. One takes 25
#: us, so junk keeps a core busy for 2.5 % at most, and as much again if it comes under members' addresses. A cluster of
#: a thousand that meets a node that has just started is met within a second, even if all are behind one address.
DERIVATIONS_PER_SOURCE_BURST: Final = 1024
DERIVATIONS_PER_SOURCE_RATE: Final = 256.0
DERIVATIONS_BURST: Final = 4096
DERIVATIONS_RATE: Final = 1024.0

#: Sources whose derivations are counted, and sources that something authentic has come from (about 250 bytes each).
DERIVATION_SOURCES_MAX: Final = 4096

#: Why an instance is not passing (characters). It travels in its record, so it is one line; the whole output of a
#: check stays with its owner.
REASON_CHARS_MAX: Final = 160

#: Checks of one instance, and of all instances of one node. Each is a task of some 10 KiB, and each is run again and
#: again: ten thousand every ten seconds keep one core busy.
CHECKS_PER_INSTANCE_MAX: Final = 16
CHECKS_PER_NODE_MAX: Final = 10_000

#: Checks running at once, each with a descriptor: those that answered in time when they last ran, and those that did
#: not. Two lanes, so that targets that hang can only hold up each other.
CHECK_RUNS_MAX: Final = 128
SLOW_CHECK_RUNS_MAX: Final = 32

#: Checks started in a second. A thousand that are due together, after a start or a stop, start over a second.
CHECK_STARTS_PER_SECOND: Final = 1000

#: What is kept of a check's last answer, and read of it at all (bytes).
CHECK_OUTPUT_BYTES_MAX: Final = 1024
CHECK_READ_BYTES_MAX: Final = 65_536

#: Shortest and longest interval, timeout and time to live (seconds). Below it, the checks would be the load.
CHECK_SECONDS_MIN: Final = 0.05
CHECK_SECONDS_MAX: Final = 86_400.0

#: Successes or failures in a row that may be asked for before a check's health changes.
CHECK_STREAK_MAX: Final = 100

#: Largest snapshot of what could be called lately (bytes): ten thousand instances take 3 MB.
SNAPSHOT_BYTES_MAX: Final = 64 * 1024 * 1024

#: Largest file of settings, definitions, tokens or keys (bytes). Ten thousand definitions take 2 MB.
FILE_BYTES_MAX: Final = 16 * 1024 * 1024

#: Length of a check's URL or address (characters), of its headers together, and of its command line.
CHECK_TARGET_CHARS_MAX: Final = 2048
CHECK_HEADERS_CHARS_MAX: Final = 8192
CHECK_COMMAND_CHARS_MAX: Final = 8192

#: Streams of attached processes at once, and those of them that may not have said hello (about 40 KiB each). A host
#: that runs a thousand programs is large.
ATTACHED_MAX: Final = 1024
ATTACHED_UNPROVEN_MAX: Final = 64

#: Largest frame that an attached process may send (bytes): a registration of full size, with checks and credentials.
ATTACH_FRAME_BYTES_MAX: Final = 262_144

#: Largest frame that an attached process takes from its agent (bytes): sixteen thousand members with their names.
ATTACH_ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024

#: Requests of one attached process that the agent works on at once, answers that are not sent included. Further ones
#: wait in the socket.
ATTACH_ASKS_MAX: Final = 32

#: Answers that wait for one attached process to read them (bytes). Beyond it the stream is cut.
ATTACH_OUTGOING_BYTES_MAX: Final = 32 * 1024 * 1024

#: Services and streams of events that one attached process follows (about 300 bytes each, beside what they show).
ATTACH_FOLLOWS_MAX: Final = 1024

#: Instances in one frame of a view or of events: 256 small ones are packed in a few ms, and take some 40 KiB.
ATTACH_INSTANCES_PER_FRAME: Final = 256

#: How long an attached process may take to read a frame, to send the rest of one, and to say hello (seconds).
ATTACH_FRAME_SECONDS_MAX: Final = 20.0

#: Longest time that the registrations of an attached process outlive its stream (seconds), and how many such processes
#: are remembered. An upgrade of a program takes some seconds.
ATTACH_GRACE_SECONDS_MAX: Final = 300.0
ATTACH_KEPT_MAX: Final = 1024

#: How long an attached process may take to answer a ping (seconds): at least, where it is asked at all, and at most.
#: As long lies between an answer and the next ping, which takes a process 0.2 to 0.4 ms of CPU.
ATTACH_PATIENCE_SECONDS_MIN: Final = 1.0
ATTACH_PATIENCE_SECONDS_MAX: Final = 300.0

#: Arrays and objects inside each other in JSON that others have written. Registrations have 5, Envoy's node metadata
#: some 10; Python's stack ends at about 1,000.
JSON_DEPTH_MAX: Final = 64
