//! What people do in a month: offices and homes, phones that change between WLAN and carrier, VPNs, journeys.

use super::world::{TOWNS, Town, World, towns_of};
use super::{Chance, DAY, DAYS, How, IDLE, LEARNING, Net, Use};

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;

/// A tenant.
pub(super) struct Company {
    pub(super) size: u64,
    pub(super) town: &'static Town,
    office: Net,
    /// Where its own VPN comes out, if it has one: the office, or a place far away.
    vpn: Option<Net>,
}

impl Company {
    pub(super) fn made_by(chance: &mut Chance, world: &World) -> Self {
        // Most have few, some have hundreds.
        let size = *chance.of(&[3, 5, 8, 12, 20, 30, 50, 80, 150, 300]);
        // Companies are in the first thirty towns or so.
        let town = &TOWNS[usize::try_from(chance.below(31)).expect("small")];
        let office = world.office_net(chance, town);
        let vpn = match chance.below(20) {
            0..12 => None,
            12..19 => Some(office.clone()),
            _ => {
                let far = chance.of(&TOWNS);
                Some(world.office_net(chance, far))
            }
        };
        Self { size, town, office, vpn }
    }
}

/// A device of somebody's, with the session that it has.
#[derive(Clone)]
struct Device {
    /// Whether its account logged in on it before: the browser has the cookie.
    is_known: bool,
    session: Option<(u64, u64)>,
}

/// Somebody.
pub(super) struct Person {
    pub(super) town: &'static Town,
    home: Net,
    home6: Option<Net>,
    carrier: usize,
    cafe: Net,
    /// The exits of a VPN of one's own.
    own_vpn: Option<[Net; 2]>,
    uses_company_vpn: bool,
    phone: Option<Device>,
    laptop: Device,
    tablet: Option<Device>,
    /// What counts sessions.
    sessions: u64,
}

/// What a day's uses are collected by.
struct Log<'a> {
    uses: &'a mut Vec<Use>,
    sessions: &'a mut u64,
}

impl Log<'_> {
    /// A device is used: in its session, or a new one where that is over.
    fn use_of(&mut self, device: &mut Device, at: u64, net: &Net) {
        let net = net.clone();
        match &mut device.session {
            Some((session, used)) if at.saturating_sub(*used) < IDLE => {
                *used = at;
                self.uses.push(Use { at, session: *session, how: How::Use, net, attack: None });
            }
            over => {
                *self.sessions += 1;
                let how = How::LogIn { known_device: device.is_known, releases: over.map(|(session, _)| session) };
                *over = Some((*self.sessions, at));
                self.uses.push(Use { at, session: *self.sessions, how, net, attack: None });
                device.is_known = true;
            }
        }
    }

    /// It is used every so often until then.
    fn work(&mut self, chance: &mut Chance, device: &mut Device, from: u64, to: u64, net: &Net) {
        let mut at = from;
        while at < to {
            self.use_of(device, at, net);
            at += chance.within(2 * MINUTE, 20 * MINUTE);
        }
    }
}

impl Person {
    pub(super) fn made_by(chance: &mut Chance, world: &World, company: &Company) -> Self {
        let town = match chance.below(100) {
            0..70 => company.town,
            70..95 => *chance.of(&towns_of(company.town.country)),
            _ => chance.of(&TOWNS),
        };
        let home = world.home_net(chance, town);
        let home6 = chance.mille(400).then(|| world.same_home(chance, town, &home));
        let device = |chance: &mut Chance| Device { is_known: chance.mille(900), session: None };
        Self {
            town,
            home6,
            home,
            carrier: usize::from(chance.mille(400)),
            cafe: world.home_net(chance, town),
            own_vpn: chance.mille(80).then(|| {
                let is_known = chance.mille(950);
                [world.vpn_net(chance, is_known), world.vpn_net(chance, is_known)]
            }),
            uses_company_vpn: chance.mille(500),
            phone: chance.mille(800).then(|| device(chance)),
            laptop: device(chance),
            tablet: chance.mille(150).then(|| device(chance)),
            sessions: chance.next() >> 20,
        }
    }

    /// Its uses, and on how many days of the month there are any.
    pub(super) fn month(&mut self, chance: &mut Chance, world: &World, company: &Company) -> (Vec<Use>, u64) {
        let (mut uses, mut days, mut day) = (Vec::new(), 0, 0);
        while day < DAYS {
            let begins = day * DAY;
            let is_weekend = day % 7 >= 5;
            // Providers give some homes another address each day.
            if chance.mille(300) {
                self.home = world.same_home(chance, self.town, &self.home);
            }
            if chance.mille(2) {
                // Cookies are deleted, browsers changed.
                self.laptop.is_known = false;
            }
            let before = uses.len();
            match chance.below(100) {
                0..8 => {}
                8..9 if !is_weekend => day += self.journey(chance, world, company, begins, &mut uses),
                _ if is_weekend && chance.mille(700) => {}
                _ if is_weekend => self.weekend(chance, world, begins, &mut uses),
                _ if self.town.name == company.town.name && chance.mille(550) => {
                    self.office_day(chance, world, company, begins, &mut uses);
                }
                _ => self.home_day(chance, world, company, begins, &mut uses),
            }
            let (first, last) = (uses.get(before), uses.last());
            if let (Some(first), Some(last), true) = (first, last, day >= LEARNING) {
                days += last.at / DAY - first.at / DAY + 1;
            }
            day += 1;
        }
        uses.retain(|one| one.at < DAYS * DAY);
        (uses, days)
    }

    /// At home, by either protocol.
    fn home_net(&self, chance: &mut Chance) -> Net {
        match &self.home6 {
            Some(other) if chance.mille(400) => other.clone(),
            _ => self.home.clone(),
        }
    }

    /// A phone between WLAN and carrier, from and to.
    fn phone_about(
        &mut self,
        chance: &mut Chance,
        world: &World,
        (from, to): (u64, u64),
        (wlan, town): (&Net, &Town),
        uses: &mut Vec<Use>,
    ) {
        let Some(phone) = &mut self.phone else { return };
        let mut log = Log { uses, sessions: &mut self.sessions };
        let (mut at, mut exit) = (from + chance.below(HOUR), world.carrier_net(chance, town, self.carrier));
        while at < to {
            if chance.mille(300) {
                exit = world.carrier_net(chance, town, self.carrier);
            }
            let net = if chance.mille(500) { wlan } else { &exit };
            log.use_of(phone, at, net);
            if chance.mille(300) {
                // From one to the other while a page is open.
                log.use_of(phone, at + chance.within(5, 120), if chance.mille(500) { wlan } else { &exit });
            }
            at += chance.within(10 * MINUTE, 4 * HOUR);
        }
    }

    fn office_day(&mut self, chance: &mut Chance, world: &World, company: &Company, day: u64, uses: &mut Vec<Use>) {
        let (arrives, leaves) = (day + chance.within(8 * HOUR, 10 * HOUR), day + chance.within(16 * HOUR, 19 * HOUR));
        let home = self.home_net(chance);
        self.phone_about(chance, world, (day + 7 * HOUR, arrives - 20 * MINUTE), (&home, self.town), uses);
        let lunch = arrives + 3 * HOUR + chance.below(HOUR);
        let mut log = Log { uses, sessions: &mut self.sessions };
        log.work(chance, &mut self.laptop, arrives, lunch, &company.office);
        if chance.mille(100) {
            log.work(chance, &mut self.laptop, lunch + 10 * MINUTE, lunch + 50 * MINUTE, &self.cafe);
        }
        log.work(chance, &mut self.laptop, lunch + HOUR, leaves, &company.office);
        let office = company.office.clone();
        self.phone_about(chance, world, (arrives, leaves), (&office, self.town), uses);
        let home_at = leaves + chance.within(20 * MINUTE, 90 * MINUTE);
        self.evening(chance, world, home_at, uses);
    }

    fn home_day(&mut self, chance: &mut Chance, world: &World, company: &Company, day: u64, uses: &mut Vec<Use>) {
        let (from, to) = (day + chance.within(7 * HOUR, 10 * HOUR), day + chance.within(16 * HOUR, 19 * HOUR));
        self.work_by_vpn(chance, company, (from, to), None, uses);
        let home = self.home_net(chance);
        self.phone_about(chance, world, (from, to), (&home, self.town), uses);
        let ends = to + chance.within(30 * MINUTE, 3 * HOUR);
        self.evening(chance, world, ends, uses);
    }

    /// Work at home or in an hotel, through one VPN or another, which is on and off.
    fn work_by_vpn(
        &mut self,
        chance: &mut Chance,
        company: &Company,
        (from, to): (u64, u64),
        hotel: Option<&Net>,
        uses: &mut Vec<Use>,
    ) {
        let own = self.own_vpn.as_ref().map(|exits| chance.of(exits).clone());
        let vpn = match (&company.vpn, own) {
            (Some(net), _) if self.uses_company_vpn => Some(net.clone()),
            (_, own) => own,
        };
        let mut at = from;
        // Most turn it on before they begin, and leave it on all day.
        let (mut is_on, stays) = (vpn.is_some() && chance.mille(750), chance.mille(950));
        while at < to {
            let direct = hotel.cloned().unwrap_or_else(|| self.home_net(chance));
            let until = if stays { to } else { (at + chance.within(20 * MINUTE, 5 * HOUR)).min(to) };
            let net = vpn.as_ref().filter(|_| is_on).unwrap_or(&direct);
            let mut log = Log { uses, sessions: &mut self.sessions };
            log.work(chance, &mut self.laptop, at, until, net);
            is_on = vpn.is_some() && !is_on;
            at = until + chance.within(5, 3 * MINUTE);
        }
    }

    fn evening(&mut self, chance: &mut Chance, world: &World, from: u64, uses: &mut Vec<Use>) {
        let home = self.home_net(chance);
        self.phone_about(chance, world, (from, from + 3 * HOUR), (&home, self.town), uses);
        let mut log = Log { uses, sessions: &mut self.sessions };
        if let Some(tablet) = self.tablet.as_mut().filter(|_| chance.mille(400)) {
            log.work(chance, tablet, from + HOUR, from + 2 * HOUR, &home);
        }
        if chance.mille(200) {
            log.work(chance, &mut self.laptop, from + HOUR, from + 2 * HOUR, &home);
        }
    }

    fn weekend(&mut self, chance: &mut Chance, world: &World, day: u64, uses: &mut Vec<Use>) {
        let from = day + chance.within(9 * HOUR, 18 * HOUR);
        self.evening(chance, world, from, uses);
    }

    /// A journey of some days. Answers on how many more days the person is away.
    fn journey(&mut self, chance: &mut Chance, world: &World, company: &Company, day: u64, uses: &mut Vec<Use>) -> u64 {
        let near = towns_of(self.town.country);
        let there = if chance.mille(650) { *chance.of(&near) } else { chance.of(&TOWNS) };
        let nights = chance.within(1, 4);
        let leaves = day + chance.within(7 * HOUR, 12 * HOUR);
        let took = self.on_the_way(chance, world, leaves, (self.town, there), uses);
        let (mut at, hotel) = (leaves + took, world.home_net(chance, there));
        if chance.mille(30) {
            // On somebody else's computer.
            let mut other = Device { is_known: false, session: None };
            Log { uses, sessions: &mut self.sessions }.work(chance, &mut other, at, at + 20 * MINUTE, &hotel);
        }
        // Something at home goes on by itself, as a page that is left open does.
        if let Some(tablet) = self.tablet.as_mut().filter(|_| chance.mille(300)) {
            let (home, mut log) = (self.home.clone(), Log { uses, sessions: &mut self.sessions });
            log.work(chance, tablet, at, at + 8 * HOUR, &home);
        }
        for night in 0..nights {
            let ends = (at / DAY) * DAY + 21 * HOUR;
            if at < ends {
                let wlan = hotel.clone();
                self.phone_about(chance, world, (at, ends), (&wlan, there), uses);
                let works = (at, at + chance.within(HOUR, 6 * HOUR));
                self.work_by_vpn(chance, company, works, Some(&hotel), uses);
            }
            at = day + (night + 1) * DAY + chance.within(8 * HOUR, 10 * HOUR);
            at = at.max(leaves + took);
        }
        let back = self.on_the_way(chance, world, at, (there, self.town), uses);
        self.evening(chance, world, at + back, uses);
        (at + back) / DAY - day / DAY
    }

    /// How long it takes from one town to another. Some work on the way.
    fn on_the_way(
        &mut self,
        chance: &mut Chance,
        world: &World,
        leaves: u64,
        (from, to): (&'static Town, &'static Town),
        uses: &mut Vec<Use>,
    ) -> u64 {
        let kilometres = from.distance(to);
        let flies = kilometres > 350.0;
        // In the air at 830 km/h, and an hour and a half from one WLAN to the other beside it; on rails at 150.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "hours")]
        let took = if flies {
            (kilometres / 830.0 * 3600.0) as u64 + chance.within(90 * MINUTE, 4 * HOUR)
        } else {
            (kilometres / 150.0 * 3600.0) as u64 + 30 * MINUTE
        };
        let mut log = Log { uses, sessions: &mut self.sessions };
        if flies {
            // In the lounge, until boarding.
            let lounge = world.office_net(chance, from);
            log.work(chance, &mut self.laptop, leaves - 30 * MINUTE, leaves, &lounge);
            if chance.mille(100) {
                let sky = world.sky_net(chance);
                log.work(chance, &mut self.laptop, leaves + 40 * MINUTE, leaves + took.min(2 * HOUR), &sky);
            }
        } else if let Some(phone) = &mut self.phone {
            let mut at = leaves;
            while at < leaves + took {
                let town = if at < leaves + took / 2 { from } else { to };
                let exit = world.carrier_net(chance, town, self.carrier);
                log.use_of(phone, at, &exit);
                at += chance.within(10 * MINUTE, 40 * MINUTE);
            }
        }
        took
    }
}
