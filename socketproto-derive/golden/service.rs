const _: () = {
    use ::socketproto as _socketproto;
    #[automatically_derived]
    impl _socketproto::Service for Thermostat {
        const SERVICE: &'static _socketproto::ServiceTable = &_socketproto::ServiceTable::new(
                "thermostat",
                "A room thermostat.",
                const {
                    &[
                        _socketproto::Entry::new(
                                _socketproto::ServiceId::READ_REQUEST,
                                _socketproto::DataId::new(3),
                                "uptime",
                            )
                            .public(),
                        _socketproto::Entry::new(
                            _socketproto::ServiceId::EXECUTE_REQUEST,
                            _socketproto::__private::Id(RESET).get(),
                            "reset",
                        ),
                        _socketproto::Entry::new(
                                _socketproto::ServiceId::EXECUTE_REQUEST,
                                _socketproto::DataId::new(5),
                                "calibrate",
                            )
                            .exclusive()
                            .with_timeout(::core::time::Duration::from_millis(120000)),
                        _socketproto::Entry::new(
                                _socketproto::ServiceId::EXECUTE_REQUEST,
                                _socketproto::DataId::new(6),
                                "measure",
                            )
                            .no_cancel(),
                        _socketproto::Entry::new(
                            _socketproto::ServiceId::new(40),
                            _socketproto::DataId::new(1),
                            "history",
                        ),
                        _socketproto::Entry::fallback(
                            _socketproto::ServiceId::READ_REQUEST,
                            "unknown",
                        ),
                        _socketproto::Entry::fallback(
                            _socketproto::ServiceId::new(40),
                            "unknown",
                        ),
                        _socketproto::Entry::new(
                                _socketproto::ServiceId::READ_REQUEST,
                                _socketproto::DataId::new(1),
                                "temperature",
                            )
                            .describe("Room temperature in °C.")
                            .notify(),
                        _socketproto::Entry::new(
                            _socketproto::ServiceId::READ_REQUEST,
                            _socketproto::DataId::new(2),
                            "setpoint",
                        ),
                        _socketproto::Entry::new(
                            _socketproto::ServiceId::WRITE_REQUEST,
                            _socketproto::DataId::new(2),
                            "setpoint",
                        ),
                        _socketproto::Entry::new(
                            _socketproto::ServiceId::WRITE_REQUEST,
                            _socketproto::DataId::new(7),
                            "label",
                        ),
                    ]
                },
            )
            .with_services(const {
                &[
                    _socketproto::OwnService::new(
                        "history",
                        _socketproto::ServiceId::new(40),
                        _socketproto::ServiceId::new(41),
                    ),
                ]
            })
            .hooks()
            .own_thread();
        fn dispatch(
            &mut self,
            __state: &_socketproto::__private::State<Self>,
            __entry: usize,
            __request: &_socketproto::__private::Request,
            __out: &mut ::std::vec::Vec<u8>,
        ) -> _socketproto::__private::Step {
            _socketproto::__private::serve(|| match __entry {
                0 => _socketproto::__private::reply::<u64, _>(self.uptime(), __out),
                1 => {
                    let __argument_args: Reset = __request.data()?;
                    let __argument_cx = __request.call(__state);
                    _socketproto::__private::reply::<
                        ResetDone,
                        _,
                    >(self.reset(__argument_cx, __argument_args), __out)
                }
                2 => {
                    let (__argument_from, __argument_to): (f64, f64) = __request.data()?;
                    let __argument_cx = __request.call(__state);
                    _socketproto::__private::later::<
                        f64,
                        _,
                    >(Self::calibrate(__argument_cx, __argument_from, __argument_to))
                }
                3 => {
                    let __argument_times: u32 = __request.data()?;
                    let __argument_cx = __request.blocking_call(__state);
                    _socketproto::__private::blocking::<
                        f64,
                        _,
                        _,
                    >(move || Self::measure(__argument_cx, __argument_times))
                }
                4 => {
                    let __argument_range: Range = __request.data()?;
                    _socketproto::__private::reply::<
                        Vec<Point>,
                        _,
                    >(self.history(__argument_range), __out)
                }
                5 => {
                    _socketproto::__private::json(
                        self.unknown(__request.data_id(), __request.json()),
                        __out,
                    )
                }
                6 => {
                    _socketproto::__private::json(
                        self.unknown(__request.data_id(), __request.json()),
                        __out,
                    )
                }
                7 => _socketproto::__private::value(&self.temperature, __out),
                8 => _socketproto::__private::value(&self.setpoint, __out),
                9 => {
                    let __value: f64 = __request.data()?;
                    _socketproto::__private::reply::<
                        (),
                        _,
                    >(self.set_setpoint(__value), __out)
                }
                10 => {
                    let __value: String = __request.data()?;
                    self.label = __value;
                    _socketproto::__private::value(&(), __out)
                }
                _ => ::core::result::Result::Err(_socketproto::Fault::unknown("")),
            })
        }
        fn hook(&mut self, __hook: &_socketproto::__private::Hook) {
            _socketproto::__private::run_hook::<Self>(self, __hook)
        }
    }
    const _: () = ::core::assert!(
        _socketproto::__private::Id(RESET).get().value() != _socketproto::DataId::new(5)
        .value(), "data ids `RESET` and `5` of service execute are equal"
    );
    const _: () = ::core::assert!(
        _socketproto::__private::Id(RESET).get().value() != _socketproto::DataId::new(6)
        .value(), "data ids `RESET` and `6` of service execute are equal"
    );
};
