//! Networks that say little of where somebody is, by what they are called and by their numbers: what comes from there is never
//! more than noted.

use super::Elsewhere;

/// What `monitor.low_asns` is where nobody wrote it: large clouds, VPNs and relays, satellites and mobile carriers of which
/// a database without traits says nothing.
pub const LOW_ASNS: [u32; 64] = [
    // Clouds and data centres.
    8075, 12_876, 14_061, 14_618, 15_169, 16_276, 16_509, 20_473, 24_940, 31_898, 45_102, 51_167, 60_781, 63_949,
    132_203, 396_982, // VPNs, relays and security services: exits of others.
    6939, 9009, 13_335, 22_616, 36_183, 39_351, 53_813, 54_113, 60_068, 62_044, 62_240, 62_371, 136_787, 147_049,
    209_103, 212_238, // Satellites, in aeroplanes too.
    800, 6621, 7155, 14_593, 22_351, 31_515, 40_306, 64_294, // Mobile carriers.
    6167, 9605, 12_576, 16_345, 20_057, 21_928, 22_394, 23_693, 24_203, 25_135, 26_599, 26_615, 28_403, 29_465, 36_935,
    38_266, 45_609, 45_727, 51_207, 55_836, 60_339, 131_445, 206_067, 31_213,
];

/// Words in the names of organisations, in lower case.
const WORDS: [(&str, Elsewhere); 16] = [
    ("starlink", Elsewhere::Satellite),
    ("satellite", Elsewhere::Satellite),
    ("inmarsat", Elsewhere::Satellite),
    ("viasat", Elsewhere::Satellite),
    ("vpn", Elsewhere::Anonymous),
    ("proxy", Elsewhere::Anonymous),
    ("hosting", Elsewhere::Hosting),
    ("cloud", Elsewhere::Hosting),
    ("datacenter", Elsewhere::Hosting),
    ("data center", Elsewhere::Hosting),
    ("data centre", Elsewhere::Hosting),
    ("server", Elsewhere::Hosting),
    ("colocation", Elsewhere::Hosting),
    ("mobile", Elsewhere::Mobile),
    ("wireless", Elsewhere::Mobile),
    ("cellular", Elsewhere::Mobile),
];

/// What an organisation's name says of its network.
#[must_use]
pub fn called(organisation: &str) -> Option<Elsewhere> {
    let name = organisation.to_lowercase();
    WORDS.iter().find(|(word, _)| name.contains(word)).map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn organisations_say_by_their_names_what_they_are() {
        for (name, kind) in [
            ("T-Mobile USA, Inc.", Some(Elsewhere::Mobile)),
            ("CELLCO-PART Verizon Wireless", Some(Elsewhere::Mobile)),
            ("SpaceX Starlink", Some(Elsewhere::Satellite)),
            ("Example Hosting GmbH", Some(Elsewhere::Hosting)),
            ("Packethub VPN", Some(Elsewhere::Anonymous)),
            ("Deutsche Telekom AG", None),
            ("", None),
        ] {
            assert_eq!(called(name), kind, "{name}");
        }
    }

    #[test]
    fn the_numbers_are_each_there_once() {
        let mut numbers = LOW_ASNS.to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), LOW_ASNS.len());
    }
}
