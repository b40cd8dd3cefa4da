//! Who has a number that we want: the kernel's tables of queues and of groups, as the calling thread's namespace has them.

use std::io;

/// The netlink port in the line of a number; absent: nobody has it. Both tables begin with number and port.
pub(crate) fn holder(table: &str, number: u16) -> io::Result<Option<u32>> {
    let path = format!("/proc/thread-self/net/netfilter/{table}");
    Ok(port_of(&std::fs::read_to_string(path)?, number))
}

fn port_of(table: &str, number: u16) -> Option<u32> {
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let there: u16 = fields.next()?.parse().ok()?;
        let port = fields.next()?;
        (there == number).then(|| port.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::port_of;

    #[test]
    fn the_port_is_that_of_the_number() {
        // Queues, then groups.
        let queues = " 7601  31557     0 2  4352     0     0        0  1\n 7602 4294967195 0 2 4352 0 0 0 1\n";
        assert_eq!(port_of(queues, 7601), Some(31557));
        assert_eq!(port_of(queues, 7602), Some(4_294_967_195));
        assert_eq!(port_of(queues, 7603), None);
        assert_eq!(
            port_of(" 7600  812     0 2    96     10  1\n", 7600),
            Some(812)
        );
        for nonsense in ["", "7600", "x 1", "70000 1", "7600 x"] {
            assert_eq!(port_of(nonsense, 7600), None, "{nonsense}");
        }
    }
}
