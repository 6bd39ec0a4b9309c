//! What Eureka and Consul say of themselves, in their documentation, their blogs and their sources.
//!
//! Where there is only a default that decides, it is that default. Neither was run for this.

/// What both say about one thing; footnotes are those of [`SOURCES`].
#[derive(Clone, Copy)]
pub(crate) struct Documented {
    pub(crate) eureka: &'static str,
    pub(crate) consul: &'static str,
}

/// Where it is said.
pub(crate) const SOURCES: &[(&str, &str)] = &[
    (
        "Eureka, client and server",
        "https://github.com/Netflix/eureka/wiki/Understanding-eureka-client-server-communication",
    ),
    (
        "Eureka, the server's defaults",
        "https://github.com/Netflix/eureka/blob/master/eureka-core/src/main/java/com/netflix/eureka/DefaultEurekaServerConfig.java",
    ),
    (
        "Eureka 2.0, motivations",
        "https://github.com/Netflix/eureka/wiki/Eureka-2.0-Motivations",
    ),
    (
        "Spring Cloud Netflix, registration",
        "https://docs.spring.io/spring-cloud-netflix/reference/spring-cloud-netflix.html",
    ),
    (
        "Consul, capacity planning",
        "https://developer.hashicorp.com/consul/docs/v1.18.x/architecture/capacity-planning",
    ),
    (
        "Consul, server performance",
        "https://developer.hashicorp.com/consul/docs/reference/architecture/server",
    ),
    (
        "Consul, anti-entropy",
        "https://developer.hashicorp.com/consul/docs/concept/consistency",
    ),
    (
        "Consul Global Scale Benchmark",
        "https://www.hashicorp.com/blog/hashicorp-consul-global-scale-benchmark",
    ),
    (
        "Consul, blocking queries",
        "https://developer.hashicorp.com/consul/api-docs/features/blocking",
    ),
];

const UNKNOWN: &str = "not documented";

pub(crate) const HEARTBEATS: Documented = Documented {
    eureka: "not documented; one each 30 s from every instance [1], passed on to every other server [3]",
    consul: UNKNOWN,
};

pub(crate) const REGISTRATIONS: Documented = Documented {
    eureka: UNKNOWN,
    consul: "not documented; each write is a sync of the Raft log to disk [6], on disks of 7,500 IOPS or more [5]",
};

pub(crate) const ROUTED: Documented = Documented {
    eureka: "registers with its first heartbeat, after 30 s [1]; up to 3 heartbeats, 90 s [4]",
    consul: "not documented; the agent tells the servers of a change as it comes, of all it has each 1 to 4 min and more [7]",
};

pub(crate) const PUBLISHED: Documented = Documented {
    eureka: "answers are cached for 30 s [2], by clients for another 30 s; up to 2 min to all clients [1]",
    consul: "under 1 s to 172,000 instances on 10,000 machines, with 5 servers [8]",
};

pub(crate) const WATCHERS: Documented = Documented {
    eureka: "no watch; clients fetch every 30 s [1]",
    consul: "blocking queries of 5 min, at most 10 [9]; time not documented beyond [8]",
};

pub(crate) const MEMORY: Documented = Documented {
    eureka: UNKNOWN,
    consul: "not documented; 32 to 64 GB a server, 2 to 4 times what it holds; at most 5,000 agents a datacenter are recommended [5]",
};

pub(crate) const RESTART: Documented = Documented {
    eureka: "fetches all from another server; without one it waits 5 min [2]",
    consul: "not documented; followers miss a leader after 5 s by default [5]",
};

pub(crate) const CRASH: Documented = Documented {
    eureka: "after 90 s without a heartbeat [1], looked at every 60 s [2]; up to 2 min to all clients [1]",
    consul: "when the check that was registered with it fails; time not documented",
};
