//! Replies of workloads: where an endpoint is, they come in; where none is, they stay out, whoever asked.

use super::{
    Network, OUTSIDE, STRANGER, WORKLOAD,
    network::{Place, waits},
    on_a_host,
    view::{Open, endpoint, enforce, nothing},
};
use palisade_policy::class::{
    Direction::{Egress, Ingress},
    PolicyList::Normal,
};
use std::net::{IpAddr, UdpSocket};

impl Network {
    /// Whether a question to UDP port 2000 of an address is answered. The question arrives if the host asks it.
    fn answers(&self, from: &Place, to: &Place, address: &str, expected: bool) -> bool {
        let port = (address.parse::<IpAddr>().expect("an address"), 2000);
        let asked = to.there(move || UdpSocket::bind(port).expect("a socket"));
        let asking = from.there(move || {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.send_to(b"?", port).expect("sent");
            socket
        });
        waits(&asked, expected);
        if let Ok((_, back)) = asked.recv_from(&mut [0; 8]) {
            asked.send_to(b"!", back).expect("answered");
        }
        waits(&asking, expected);
        asking.recv(&mut [0; 8]).is_ok()
    }
}

#[test]
fn replies_of_a_workload_interface_stay_out_where_no_workload_is() {
    on_a_host(|kernel, network| {
        let mut view = nothing();
        // The host may ask; the answer belongs to a flow that was let through.
        enforce(kernel, &view);
        assert!(!network.answers(&network.host, &network.workload, WORKLOAD, false));
        assert!(!network.answers(&network.outside, &network.workload, WORKLOAD, false));
        assert!(network.answers(&network.host, &network.outside, OUTSIDE, true));
        let lists = [
            (Normal, Egress, Open::Nothing),
            (Normal, Ingress, Open::To(&[2000])),
        ];
        endpoint(&mut view, "cali1", &[WORKLOAD], &lists);
        enforce(kernel, &view);
        assert!(network.answers(&network.host, &network.workload, WORKLOAD, true));
        assert!(network.answers(&network.outside, &network.workload, WORKLOAD, true));
        assert!(!network.answers(&network.host, &network.stranger, STRANGER, false));
    });
}
