///A client of [`Thermostat`]: its methods call the service `Thermostat` of a peer.
#[allow(dead_code)]
pub(crate) struct ThermostatClient {
    peer: crate::reexport::protocol::Peer,
    shift: u32,
    service: ::core::marker::PhantomData<fn() -> Thermostat>,
}
const _: () = {
    use crate::reexport::protocol as _socketproto;
    #[allow(dead_code, unreachable_pub, clippy::all, clippy::pedantic)]
    impl ThermostatClient {
        /// Calls the service where its data ids are those of its declaration.
        pub fn new(peer: &impl ::core::convert::AsRef<_socketproto::Peer>) -> Self {
            Self::at(peer, 0)
        }
        /// Calls the service where its data ids are shifted, as by `service_at`.
        pub fn at(
            peer: &impl ::core::convert::AsRef<_socketproto::Peer>,
            shift: u32,
        ) -> Self {
            let peer = ::core::clone::Clone::clone(::core::convert::AsRef::as_ref(peer));
            Self {
                peer,
                shift,
                service: ::core::marker::PhantomData,
            }
        }
        ///Executes `calibrate` (data 5).
        pub fn calibrate(&self, from: f64, to: f64) -> _socketproto::PendingCall<f64> {
            _socketproto::__private::call(
                    &self.peer,
                    _socketproto::ServiceId::EXECUTE_REQUEST,
                    _socketproto::DataId::new(5),
                    self.shift,
                    "calibrate",
                    &(&from, &to),
                )
                .timeout(
                    ::core::time::Duration::from_millis(120000)
                        + _socketproto::DEFAULT_CALL_TIMEOUT,
                )
        }
        ///Calls `history` (data 1 of service 40).
        pub fn history(&self, range: Range) -> _socketproto::PendingCall<Vec<Point>> {
            _socketproto::__private::call_own(
                &self.peer,
                (_socketproto::ServiceId::new(40), _socketproto::ServiceId::new(41)),
                _socketproto::DataId::new(1),
                self.shift,
                "history",
                &range,
            )
        }
        /**Room temperature in °C.

Reads `temperature` (data 1).*/
        pub fn temperature(&self) -> _socketproto::PendingCall<f64> {
            _socketproto::__private::call(
                &self.peer,
                _socketproto::ServiceId::READ_REQUEST,
                _socketproto::DataId::new(1),
                self.shift,
                "temperature",
                &(),
            )
        }
        ///Writes `setpoint` (data 2).
        pub fn set_setpoint(&self, value: f64) -> _socketproto::PendingCall<()> {
            _socketproto::__private::call(
                &self.peer,
                _socketproto::ServiceId::WRITE_REQUEST,
                _socketproto::DataId::new(2),
                self.shift,
                "setpoint",
                &value,
            )
        }
    }
    #[automatically_derived]
    impl ::core::clone::Clone for ThermostatClient {
        fn clone(&self) -> Self {
            Self {
                peer: ::core::clone::Clone::clone(&self.peer),
                shift: self.shift,
                service: ::core::marker::PhantomData,
            }
        }
    }
    #[automatically_derived]
    impl ::core::fmt::Debug for ThermostatClient {
        fn fmt(&self, __f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
            __f.debug_struct("ThermostatClient")
                .field("peer", &self.peer)
                .field("shift", &self.shift)
                .finish()
        }
    }
    #[allow(dead_code)]
    fn __fields(__service: &Thermostat) {
        let _ = &__service.temperature;
        let _ = &__service.setpoint;
    }
};
