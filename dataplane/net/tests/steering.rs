//! Real TCP through the programs, in namespaces of the test's own.

mod support;

use std::net::{IpAddr, SocketAddr};

use support::{Bed, CLIENT, CLIENT6, PORT, VIP, VIP6};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_connection_to_an_address_of_nobody_reaches_the_worker_with_both_addresses_kept() {
    let bed = Bed::new(1);
    for (client, vip) in [(CLIENT, VIP), (CLIENT6, VIP6)] {
        let answer = bed.dial(vip).unwrap();
        assert_eq!(answer.peer, answer.own, "the client's address and port");
        assert_eq!(answer.peer.ip(), ip(client));
        assert_eq!(answer.local, SocketAddr::new(ip(vip), PORT), "what the client dialled");
    }
}
